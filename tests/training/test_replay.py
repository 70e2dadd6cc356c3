"""Fine-tuning a force field on a file as ASE reads it, with structures that the model labels itself."""

from __future__ import annotations

from types import SimpleNamespace

import ase.build
import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

import zoo
from zoo.cards.card import Card
from zoo.cli import app
from zoo.errors import DataError, TrainingError
from zoo.training import finetune
from zoo.training.finetune import finetune_card
from zoo.training.replay import with_replay

ZERO = 5.0  # eV/atom between the labels of silicon and the model


def rattled(symbol: str, n: int, scale: float = 0.08):
    frames = []
    for seed in range(n):
        atoms = ase.build.bulk(symbol, cubic=True)
        atoms.rattle(scale, seed=seed)
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A small force field of Si and Cu; silicon labelled by it on another zero; unlabelled copper."""
    folder = tmp_path_factory.mktemp("replay")
    torch.manual_seed(0)
    targets = {"energy": {"readout": "energy", "unit": "eV", "reference": "fitted"}}
    model = zoo.create("schnet", targets=targets, elements=["Si", "Cu"], cutoff=3.0, channels=8, num_layers=1)
    zoo.save(model, folder / "own", name="own", domain={"elements": ["Si", "Cu"], "pbc": True},
             derivatives=["forces", "stress"])
    model = zoo.load(folder / "own")
    silicon = rattled("Si", 12)
    for atoms in silicon:
        found = model.predict(atoms, derivatives=["forces", "stress"])
        stress = found["stress"][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        atoms.calc = SinglePointCalculator(atoms, energy=found["energy"] + ZERO * len(atoms), forces=found["forces"],
                                           stress=stress)
    ase.io.write(folder / "si.extxyz", silicon)
    ase.io.write(folder / "others.extxyz", [*rattled("Cu", 8), *rattled("Si", 2, 0.2)])
    return folder


def test_replayed_structures_have_the_models_labels_on_the_zero_of_the_file(place, tmp_path):
    out = with_replay(str(place / "own"), place / "si.extxyz", place / "others.extxyz", tmp_path / "joined.extxyz")
    joined, model = ase.io.read(out, ":"), zoo.load(place / "own")
    assert [bool(atoms.info.get("replay")) for atoms in joined] == [False] * 12 + [True] * 10
    for atoms, given in zip(joined, ase.io.read(place / "si.extxyz", ":")):
        assert atoms.get_potential_energy() == pytest.approx(given.get_potential_energy())
    for atoms in joined[12:]:
        found = model.predict(atoms, derivatives=["forces", "stress"])
        shift = ZERO * np.count_nonzero(atoms.numbers == 14)
        assert atoms.get_potential_energy() == pytest.approx(found["energy"] + shift, abs=1e-3)
        np.testing.assert_allclose(atoms.get_forces(), found["forces"], atol=1e-5)
        np.testing.assert_allclose(atoms.get_stress(voigt=False), found["stress"], atol=1e-6)


def test_the_command_needs_a_file_and_moves_the_zero(place, tmp_path):
    """The labels are those of the model but for their zero: before any step is taken, references have it right."""
    out = tmp_path / "run"
    done = CliRunner().invoke(app, ["finetune", str(place / "own"), str(place / "si.extxyz"), "--replay",
                                    str(place / "others.extxyz"), "--out", str(out), "-q", "--no-measure",
                                    "--set", "recipe.budget.steps=2", "--set", "recipe.lr=1e-9"])
    assert done.exit_code == 0, (done.output, done.exception)
    card = Card.load(out)
    assert card.derivatives == ["forces", "stress"] and card.data.path.endswith("run-with-replay.extxyz")
    before, after = zoo.load(place / "own"), zoo.load(out)
    for symbol, zero in (("Si", ZERO), ("Cu", 0.0)):
        atoms = rattled(symbol, 1)[0]
        moved = (after.predict(atoms)["energy"] - before.predict(atoms)["energy"]) / len(atoms)
        assert moved == pytest.approx(zero, abs=1e-3), symbol


def test_a_card_says_whose_zero_its_energies_have(place, monkeypatch):
    monkeypatch.setattr(finetune, "resolve", lambda name: SimpleNamespace(card=zoo.show(name)))
    card = finetune_card("nequix-oam-1", place / "si.extxyz", targets=[])
    assert card.derivatives == ["forces", "stress"] and set(card.recipe["losses"]) == {"forces", "stress"}
    assert card.source is None and len(card.domain.elements) == 89
    said = card.targets["energy"].description
    assert "that of si.extxyz for Si, and that of nequix-oam-1 for other elements" in said


def test_what_cannot_be_is_said(place, tmp_path):
    with pytest.raises(DataError, match=r"8 of 8 frames .* have no energy|10 of 10 frames .* have no energy"):
        with_replay(str(place / "own"), place / "others.extxyz", place / "si.extxyz", tmp_path / "x.extxyz")
    with pytest.raises(DataError, match="there is no file"):
        with_replay(str(place / "own"), place / "si.extxyz", place / "none.extxyz", tmp_path / "x.extxyz")
    with pytest.raises(TrainingError, match="no target is named"):
        finetune_card(str(place / "own"), place / "others.extxyz", targets=[])
    with pytest.raises(TrainingError, match="no labels for a replay"):
        with_replay("painn-qm9", place / "si.extxyz", place / "si.extxyz", tmp_path / "x.extxyz")
