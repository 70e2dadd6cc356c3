"""A stranger's card may not cost memory or time: its model is no larger than its weights, its values are checked."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo.cards import weights
from zoo.cards.card import Card
from zoo.errors import WeightsError, ZooError
from zoo.loading.models import create
from zoo.loading.size_limit import limited_to

CARDS = Path(__file__).parents[2] / "cards"
LARGE = [
    ("painn-ethanol", {"channels": 6000}), ("painn-ethanol", {"channels": 10**12}),
    ("painn-ethanol", {"num_layers": 10**6}), ("painn-ethanol", {"num_radial": 10**9}),
    ("painn-ethanol", {"radial": "gaussian", "num_radial": 10**9}), ("painn-ethanol", {"num_elements": 10**9}),
    ("schnet-ethanol", {"num_filters": 10**5}), ("schnet-ethanol", {"num_radial": 10**8}),
    ("dimenet-ethanol", {"num_spherical": 10**6}), ("dimenet-ethanol", {"blocks": 10**6}),
    ("dimenet-ethanol", {"num_radial": 10**5}), ("dimenet-ethanol", {"output_layers": 10**6}),
    ("gemnet-ethanol", {"emb_edge": 10**5}), ("gemnet-ethanol", {"num_spherical": 2000}),
    ("gemnet-ethanol", {"blocks": 10**6}), ("gemnet-ethanol", {"concat": 10**7}),
    ("nequip-ethanol", {"lmax": 10**4}), ("nequip-ethanol", {"num_layers": 10**7}),
    ("nequip-ethanol", {"num_features": 10**6}), ("nequip-ethanol", {"radial_depth": 10**7}),
]
WRONG = [
    ({"cutoff": float("nan")}, "is not finite"), ({"cutoff": float("inf")}, "is not finite"),
    ({"cutoff": -5.0}, "a radius of -5.0 Å"), ({"cutoff": 0}, "a radius of 0 Å"),
    ({"cutoff": None}, "expects a number, found None"), ({"channels": "abc"}, "expects a whole number, found 'abc'"),
    ({"channels": None}, "expects a whole number"), ({"num_layers": True}, "expects a whole number, found True"),
    ({"num_layers": 2.5}, "expects a whole number, found 2.5"), ({"channels": [8]}, "expects a whole number"),
    ({"channels": -3}, "a number above 0, found -3"), ({"channels": 0}, "found 0"),
    ({"radial": 3}, "expects text, found 3"),
    ({"epsilon": {"a": [float("nan")]}}, "is not finite"),
]


def copied(name: str, folder: Path, **changes: Any) -> Path:
    """A card folder whose config says something else; hash and size of the weights stay right."""
    shutil.copytree(CARDS / name, folder)
    card = Card.load(folder)
    card.replace(config={**card.config, **changes}).save(folder)
    return folder


@pytest.mark.parametrize(("name", "changes"), [
    pytest.param(name, changes, id=f"{name}-{changes}", marks=[pytest.mark.slow] * (k not in (0, 2, 8, 18)))
    for k, (name, changes) in enumerate(LARGE)
])  # fmt: skip
def test_a_model_larger_than_its_weights_is_refused_at_once(tmp_path: Path, name: str, changes: dict) -> None:
    started = time.process_time()
    with pytest.raises(ZooError, match=r"Fix: "):
        zoo.load(copied(name, tmp_path / "card", **changes))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("hidden", [[10**6, 10**6], [1] * 101])
def test_so_is_a_readout(tmp_path: Path, hidden: list[int]) -> None:
    folder = copied("painn-ethanol", tmp_path / "card")
    card = Card.load(folder)
    targets = {name: {**spec.model_dump(exclude_unset=True), "hidden": hidden} for name, spec in card.targets.items()}
    with pytest.raises(ZooError, match=r"far larger model than its weights fill|at most 100 items"):
        card.replace(targets=targets).save(folder)
        zoo.load(folder)


@pytest.mark.parametrize(("changes", "says"), WRONG, ids=lambda value: str(value))
def test_values_of_another_kind_are_refused_with_their_line(tmp_path: Path, changes: dict, says: str) -> None:
    folder = copied("painn-ethanol", tmp_path / "card", **changes)
    with pytest.raises(ZooError, match=re.escape(says)) as caught:
        zoo.load(folder)
    assert "card.yaml" in str(caught.value) and "Fix: " in str(caught.value)


def test_models_and_other_threads_are_left_alone() -> None:
    header, _ = weights.read_header(CARDS / "painn-ethanol" / "model.safetensors")
    with limited_to(header, "card.yaml"):
        torch.nn.Linear(1000, 1000)
        with pytest.raises(WeightsError):
            torch.zeros(10**5, 10**5)
        with pytest.raises(WeightsError):
            torch.outer(torch.ones(10**5), torch.ones(10**5))
        with pytest.raises(WeightsError):
            torch.ones(10).repeat(10**8)
    torch.nn.ModuleList(torch.nn.Identity() for _ in range(3000))


@pytest.mark.parametrize("kind", ["parameter", "buffer", "module"])
def test_many_parts_that_take_no_memory_are_counted_too(kind: str) -> None:
    part = torch.nn.Identity() if kind == "module" else torch.nn.Parameter(torch.zeros(1))
    whole = torch.nn.Module()
    with pytest.raises(WeightsError, match=r"far larger model .* Fix: "), limited_to({}, "card.yaml"):
        for number in range(10**6):
            getattr(whole, f"register_{kind}")(f"part{number}", part)
    assert 10 < number < 10**5


@pytest.mark.parametrize(("family", "size"), [
    ("schnet", "num_layers"), ("schnet", "num_radial"), ("painn", "num_layers"), ("dimenet", "int_emb"),
    ("dimenet", "envelope_exponent"), ("gemnet", "emb_quad"), ("gemnet", "num_elements"), ("nequip", "num_features"),
    ("nequip", "radial_width"), ("nequip", "num_bessel")])
def test_a_size_of_zero_is_refused_by_its_name(family, size):
    with pytest.raises(ZooError, match=rf"config\.{size}: '{family}' expects .*a number above 0, found 0\. Fix: "):
        create(family, elements=["H", "C"], targets={"energy": {"readout": "energy", "unit": "eV"}}, **{size: 0})
