"""Everything that belongs to a model travels when it is fine-tuned."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import ase
import ase.build
import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator

import zoo
from zoo.cards.card import Card
from zoo.errors import DataError, TrainingError
from zoo.training import finetune as module
from zoo.training import train
from zoo.training.finetune import finetune_card
from zoo.training.prepare import begun, copy_weights, read_card, untrained

MEASURED = {"source", "weights", "metrics", "breakdown", "training", "golden", "uncertainty", "stability"}


def frames(path: Path, symbols: str = "CH3CH2OH", n: int = 24, **labels: Any) -> Path:
    """Rattled molecules whose energies the references of painn-ethanol nearly explain."""
    random, start = np.random.default_rng(0), ase.build.molecule(symbols)
    free = {"H": -13.57, "C": -1025.28, "O": -2035.57, "N": -1483.0}
    structures = []
    for _ in range(n):
        atoms = ase.Atoms(start.symbols, start.positions + random.normal(0, 0.03, start.positions.shape))
        energy = sum(free[s] for s in atoms.symbols) - 4.5 * len(atoms) + random.normal(0, 0.1)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=random.normal(0, 0.5, atoms.positions.shape))
        structures.append(atoms)
    ase.io.write(path, structures)
    return path


@pytest.fixture(scope="module")
def ethanol(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return frames(tmp_path_factory.mktemp("frames") / "my.extxyz")


def test_every_key_of_a_card_is_decided() -> None:
    """A key that is added to the card has to be added to one of the four lists."""
    lists = [module.TRAVELS, module.JOINED, module.RENEWED, module.LEFT]
    assert sorted(name for names in lists for name in names) == sorted(Card.model_fields)
    assert set(module.LEFT) == MEASURED


def test_every_section_of_the_card_is_that_of_the_origin_or_new(ethanol: Path, tmp_path: Path) -> None:
    """The card that the run leaves, section by section, against that of the bundled force field."""
    origin = Card.load(Path(str(zoo.load("painn-ethanol").required_card.path)))
    card = finetune_card("painn-ethanol", ethanol, targets=["energy"], forces="forces")
    after = Card.load(train(card, out=tmp_path / "run", device="cpu", quiet=True,
                            overrides=["budget.steps=2", "lr=1e-6", "eval_every=2"]))
    for name in module.TRAVELS:
        assert getattr(after, name) == getattr(origin, name), name
    assert after.targets == origin.targets and after.derivatives == origin.derivatives
    assert after.references["energy"].values == origin.references["energy"].values
    assert after.references["energy"].kind == "isolated"
    assert after.domain.elements == origin.domain.elements and after.domain.charge == origin.domain.charge
    assert after.domain.pbc is False and "my.extxyz" in after.domain.reach and "1,000 K" in after.domain.reach
    # Ranges of the training data: of both.
    for kind, (low, high) in origin.domain.bonds.items():
        assert after.domain.bonds[kind][0] <= low and after.domain.bonds[kind][1] >= high
    assert after.domain.max_force == 12.6
    assert after.recipe["from"] == "painn-ethanol" and after.data.path == str(ethanol.resolve())
    assert "painn-ethanol" in after.notes and after.uncertainty is None and after.stability is None
    # What was measured was measured on the new weights.
    assert after.weights.sha256 != origin.weights.sha256 and {m.n for m in after.metrics} == {2, 18}
    before, now = zoo.load("painn-ethanol"), zoo.load(tmp_path / "run")
    assert float(now.readouts["energy"].constants.scale) == float(before.readouts["energy"].constants.scale)
    assert now.cutoff == before.cutoff and now.priors["zbl"].core == before.priors["zbl"].core == 0.8
    # A pressed bond keeps its repulsion: with the core, the network sees nothing of it, and the prior gives it all.
    pressed, relaxed = (ase.build.molecule("CH3CH2OH") for _ in range(2))
    pressed.set_distance(1, 4, 0.5 * 1.09, fix=0)
    rise = [model.predict([pressed, relaxed], as_frame=False) for model in (before, now)]
    energies = [a["energy"] - b["energy"] for a, b in rise]
    assert energies[1] == pytest.approx(energies[0], abs=0.05) and energies[1] > 15


def test_a_fitted_reference_starts_at_that_of_the_origin(tmp_path: Path) -> None:
    """Methane knows no oxygen: its reference stays; the others are corrected by as little as the labels ask for."""
    file = frames(tmp_path / "methane.extxyz", "CH4")
    card = finetune_card("painn-ethanol", file, targets=["energy"])
    assert card.domain.elements == ["H", "C", "O"], "what the origin knows, the fine-tuned model knows"
    assert card.derivatives == ["forces"]
    folder = train(read_card(card, ["targets.energy.reference=fitted"]), out=tmp_path / "run", device="cpu", quiet=True,
                   overrides=["budget.steps=1", "lr=1e-9"], measure=False)
    was, is_ = zoo.load("painn-ethanol").required_card.references["energy"], Card.load(folder).references["energy"]
    assert is_.kind == "fitted" and is_.values["O"] == pytest.approx(was.values["O"], abs=1e-9)
    moved = {s: is_.values[s] - was.values[s] for s in "HC"}
    # In columns of size one, 4 H and C have the same share in the correction.
    assert 4 * moved["H"] == pytest.approx(moved["C"], rel=1e-6) and 0.01 < abs(moved["C"]) < 5


def test_an_element_without_a_given_reference_has_them_fitted(tmp_path: Path) -> None:
    card = finetune_card("painn-ethanol", frames(tmp_path / "n.extxyz", "HCN"), targets=["energy"])
    assert card.targets["energy"].reference == "fitted" and not card.references
    assert card.domain.elements == ["H", "C", "N", "O"] and "no value for N" in card.notes


def test_an_element_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has N, and nequip-ethanol has weights for H, C, O only"):
        finetune_card("nequip-ethanol", frames(tmp_path / "n.extxyz", "HCN"), targets=["energy"])


def test_a_new_target_is_known_on_the_new_data_only(tmp_path: Path) -> None:
    card = finetune_card("painn-ethanol", frames(tmp_path / "m.extxyz", "CH4"), targets=["E=energy"])
    assert card.domain.elements == ["H", "C"] and set(card.domain.bonds) == {"C-H"}
    assert card.targets["E"].reference == "fitted" and card.priors.zbl is not None and not card.derivatives


# -- zoo train CARD --from MODEL -----------------------------------------------------------------------------------


def plain(**changes: Any) -> Card:
    """A card that says nothing of priors and references."""
    origin = zoo.load("painn-ethanol").required_card
    return Card.from_dict({
        "schema": 1, "name": "mine", "architecture": "painn", "config": origin.config,
        "targets": {"energy": {"readout": "energy", "unit": "eV", "reference": "isolated", "bias": True}},
        "domain": {"elements": ["H", "C", "O"]}, "recipe": {"from": "painn-ethanol"}} | changes)


@pytest.mark.parametrize(("label", "key", "unit", "wrong"), [
    ("forces", "REF_forces", "eV/Å", "eV"), ("stress", "REF_stress", "eV/Å^3", "eV/Å"),
    ("energy", "REF_energy", "eV", "D"),
])
def test_the_unit_that_an_error_proposes_is_one_of_the_quantity(
        tmp_path: Path, label: str, key: str, unit: str, wrong: str) -> None:
    structure = ase.build.molecule("CH3CH2OH")
    structure.info |= {"REF_energy": 1.0, "REF_stress": np.eye(3)}
    structure.arrays["REF_forces"] = np.zeros((9, 3))
    ase.io.write(tmp_path / "my.extxyz", [structure] * 4)
    keys = {"energy": "REF_energy", label: key}

    def card(units: dict[str, str]) -> Card:
        return finetune_card("painn-ethanol", tmp_path / "my.extxyz", targets=["energy=REF_energy"],
                             units=[f"{k}={v}" for k, v in units.items()],
                             **{k: v for k, v in keys.items() if k != "energy"})

    others = {k: "eV" for k in keys if k != label}
    with pytest.raises(DataError, match=rf"--unit {label}={re.escape(unit)}$"):
        card(others)
    with pytest.raises(DataError, match=rf"not measured in {wrong}. Fix: give a unit such as {re.escape(unit)}$"):
        card(others | {label: wrong})
    assert card(others | {label: unit}).data.units[label] == unit


def test_a_card_that_starts_from_a_model_inherits_what_it_does_not_name() -> None:
    origin = zoo.load("painn-ethanol").required_card
    card = begun(plain(), None)
    assert card.priors == origin.priors and card.references["energy"].values == origin.references["energy"].values
    assert begun(plain(priors={}), None).priors.zbl is None, "the card has the last word"
    assert begun(plain(targets={"gap": {"readout": "intensive", "unit": "eV"}}), None).priors.zbl is None


@pytest.mark.parametrize("change", [{"cutoff": 4.0}, {"radial": "gaussian"}])
def test_weights_of_the_same_shapes_are_refused_for_another_config(change: dict[str, Any]) -> None:
    source = zoo.load("painn-ethanol")
    card = begun(plain(config={**source.required_card.config, **change}), None)
    key, value = next(iter(change.items()))
    with pytest.raises(TrainingError, match=f"{key} is .* there and {value} here"):
        copy_weights(untrained(card, seed=0, dtype=torch.float32), source)


def test_references_are_copied_by_element_and_not_by_place() -> None:
    """The card lists the elements in another order than the model that it starts from."""
    source = zoo.load("painn-ethanol")
    model = untrained(begun(plain(domain={"elements": ["O", "N", "C", "H"]},
                                  targets={"energy": {"readout": "energy", "unit": "eV", "reference": "fitted",
                                                      "bias": True}}), None), seed=0, dtype=torch.float32)
    copy_weights(model, source)
    values = source.required_card.references["energy"].values
    expected = [values["O"], 0.0, values["C"], values["H"]]
    assert model.readouts["energy"].constants.coefficients.tolist() == expected
    assert math.isclose(expected[3], -13.568422383046626)
