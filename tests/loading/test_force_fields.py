"""Bundled models: hashes and reference outputs; of force fields, what their cards promise of frames in the zoo."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import ase.data
import ase.io
import numpy as np
import pytest
import torch

import zoo
from zoo.cards.card import Card
from zoo.data.of_card import open_for_card
from zoo.evaluation.evaluation import evaluate
from zoo.files.hashing import sha256_of

CARDS = Path(__file__).resolve().parents[2] / "cards"
SAMPLES = Path(str(files("zoo.data"))) / "samples"
FRAMES = SAMPLES / "acac" / "frames.xyz"
TRAINED = sorted(p.parent.name for p in CARDS.glob("*/card.yaml") if Card.load(p).weights is not None)
FORCE_FIELDS = [name for name in TRAINED if "-qm9" not in name]
MOLECULES = [pytest.param(name, marks=[] if name.endswith("-acac") else pytest.mark.slow)
             for name in FORCE_FIELDS if (SAMPLES / name.split("-")[1]).is_dir()]
"""Force fields of a molecule of which frames ship with the zoo; one of each family in `make test`."""


def frames_of(name: str) -> Path:
    return SAMPLES / name.split("-")[1] / "frames.xyz"


def test_there_are_some():
    assert {"nequip-acac", "painn-acac"} <= set(FORCE_FIELDS)


@pytest.mark.parametrize("name", FORCE_FIELDS)
def test_the_card_says_how_far_it_reaches(name):
    card = Card.load(CARDS / name)
    assert "forces" in card.derivatives and card.domain.reach and card.limits and card.data.source and card.data.files
    assert card.priors.zbl is not None
    # Of eighty elements, kinds of bonds say nothing.
    assert (card.domain.bonds or len(card.domain.elements) > 20) and card.domain.max_force
    assert {m.split for m in card.metrics} >= {"test"}
    assert card.weights.bytes < 8e6


@pytest.mark.parametrize("name", TRAINED)
def test_every_bundled_model_has_its_hash_and_repeats_its_reference_outputs(name):
    model = zoo.load(name, verify="golden")
    assert len(model.card.golden) > 0
    assert model.card.weights.sha256 == sha256_of(CARDS / name / model.card.weights.file)


@pytest.mark.parametrize("name", MOLECULES)
def test_the_split_file_knows_every_frame_of_the_sample(name):
    card = Card.load(CARDS / name)
    found = open_for_card(card, cutoff=3.0, labels=["energy", "forces"], path=frames_of(name))
    assert found.rows["test"].tolist() == list(range(20, 40))
    assert (found.rows["train"].tolist(), found.rows["val"].tolist()) == (list(range(20)), list(range(40, 44)))


@pytest.mark.parametrize("name", MOLECULES)
def test_errors_on_the_sample_are_those_of_the_card(name):
    card = Card.load(CARDS / name)
    promised = {m.target: m.value for m in card.metrics if m.split == "test" and m.metric == "rmse"}
    found = evaluate(name, data=frames_of(name))
    assert (found.split, found.n) == ("test", 20)
    # Twenty frames: 540 components of forces or more, which are known to a tenth; twenty energies, to a half.
    assert found.value("forces", "rmse") == pytest.approx(promised["forces"], rel=0.35)
    assert found.value("energy", "rmse") < 2 * promised["energy"]


@pytest.mark.parametrize("name", MOLECULES)
def test_a_bond_pressed_far_below_any_in_the_data_resists(name):
    model = zoo.load(name, dtype="float64")
    atoms = ase.io.read(frames_of(name), 20)
    distances = atoms.get_all_distances() + 10 * np.eye(len(atoms))
    i, j = divmod(int(distances.argmin()), len(atoms))
    energies = []
    for length in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4):
        squeezed = atoms.copy()
        squeezed.set_distance(i, j, length, fix=0)
        energies.append(float(model.predict(squeezed)["energy"]))
    assert (np.diff(energies) > 0).all()


@pytest.mark.parametrize("name", [name for name in FORCE_FIELDS if Card.load(CARDS / name).priors.zbl.core])
def test_no_training_bond_is_within_the_core(name):
    """So that the core changes nothing of what the card was measured on."""
    card = Card.load(CARDS / name)
    for kind, (shortest, _) in card.domain.bonds.items():
        radii = sum(ase.data.covalent_radii[ase.data.atomic_numbers[symbol]] for symbol in kind.split("-"))
        assert shortest > card.priors.zbl.core * radii, kind


def test_many_elements_are_learned_several_times_better_than_the_mean():
    """1 − R² is the mean square error in units of the mean's; the structures are of compositions not trained on."""
    card = Card.load(CARDS / "painn-randomtp")
    assert len(card.domain.elements) > 80
    better = {m.target: (1 - m.value) ** -0.5 for m in card.metrics if (m.split, m.metric) == ("test", "r2")}
    assert better["energy"] > 10 and better["forces"] > 3 and better["stress"] > 10


@pytest.mark.parametrize("name", MOLECULES)
def test_forces_are_the_slope_of_the_energy(name):
    model = zoo.load(name, dtype="float64")
    atoms = ase.io.read(frames_of(name), 25)
    direction = np.random.default_rng(0).standard_normal(atoms.positions.shape)
    exact = float((model.predict(atoms, derivatives=["forces"])["forces"] * direction).sum())
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * 1e-5 * direction
        energies.append(float(model.predict(moved)["energy"]))
    assert exact == pytest.approx(-(energies[0] - energies[1]) / 2e-5, abs=1e-4)


def test_a_card_trains_on_the_sample(tmp_path):
    """Data of one's own, in a file, with the card's recipe shortened; and the split file goes with the run."""
    out = tmp_path / "run"
    zoo.train(str(CARDS / "painn-acac" / "card.yaml"), out=out, data=FRAMES, device="cpu", quiet=True, overrides=[
        "budget={steps: 30}", "eval_every=30", "config.channels=8", "batch.molecules=4", "from=null"])
    card = Card.load(out)
    assert (out / card.data.split.file).read_bytes() == (CARDS / "painn-acac" / "split.safetensors").read_bytes()
    assert card.priors.zbl is not None and card.training.steps_done == 30
    model = zoo.load(out)
    scale = float(model.readouts["energy"].constants.scale)
    forces = np.concatenate([a.get_forces() for a in ase.io.read(FRAMES, ":20")])
    assert scale == pytest.approx(float(np.sqrt(np.square(forces).mean())), rel=0.1)
    assert torch.isfinite(model.readouts["energy"].net[-1].bias).all()
