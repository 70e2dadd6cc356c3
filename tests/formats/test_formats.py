"""Weights of every format that a family ever had load to this day, and give the numbers that they gave then."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import zoo
from zoo.errors import WeightsError
from zoo.registry import host
from zoo.registry.families import FAMILIES

HERE = Path(__file__).parent


@pytest.mark.parametrize("family", FAMILIES)
def test_one_of_every_format_is_kept(family):
    kept = {folder.name for folder in HERE.glob(f"{family}-*")}
    assert kept == {f"{family}-{number}" for number in range(1, host.architecture(family).format + 1)}, (
        "a format has no kept weights: run python tests/formats/make.py; the older ones need `upgrade`")


@pytest.mark.parametrize("folder", sorted(folder.parent.name for folder in HERE.glob("*/card.yaml")))
def test_it_loads_and_repeats_itself(folder):
    model = zoo.load(HERE / folder, verify="golden")
    assert (model.card.architecture, str(model.card.format)) == re.fullmatch(r"(.+)-(\d+)", folder).groups()
    assert len(model.card.golden) > 0


def test_other_numbers_would_be_seen(tmp_path):
    """The promise of this file rests on the recorded outputs: one digit of one weight more, and they differ."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    from zoo.cards.card import Card
    from zoo.files.hashing import sha256_of

    folder = shutil.copytree(HERE / "painn-1", tmp_path / "painn")
    file = folder / "model.safetensors"
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    state = load_file(file)
    name = next(key for key in state if key.startswith("backbone.") and state[key].ndim == 2)
    state[name] = state[name] * 1.001
    save_file(state, file, metadata=metadata)
    card = Card.load(folder)
    held = card.weights.model_dump() | {"sha256": sha256_of(file), "bytes": file.stat().st_size}
    card.replace(weights=held).save(folder)
    with pytest.raises(WeightsError):
        zoo.load(folder, verify="golden")
