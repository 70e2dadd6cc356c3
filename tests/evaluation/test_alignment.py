"""Energies whose labels have another zero are compared after one energy per element was fitted, and it is said."""

from __future__ import annotations

import ase.build
import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

import zoo
from zoo.cli import app
from zoo.errors import EvaluationError
from zoo.evaluation.alignment import aligned
from zoo.evaluation.evaluation import _aligned
from zoo.evaluation.metrics import TargetResult

SHIFT = {"Si": 3.25, "Cu": -1.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small force field, and its own energies and forces on another zero as labels."""
    place = tmp_path_factory.mktemp("aligned")
    torch.manual_seed(0)
    zoo.save(zoo.create("schnet", preset="small", elements=["Si", "Cu"], cutoff=4.0), place / "own", name="own",
             domain={"elements": ["Si", "Cu"], "pbc": True}, derivatives=["forces"],
             data={"units": {"energy": "eV", "forces": "eV/Å"}})
    model = zoo.load(place / "own", dtype="float64")
    frames = [ase.build.bulk("Si").repeat((2, 1, 1)), ase.build.bulk("Cu", cubic=True),
              ase.build.bulk("CuSi", "zincblende", a=5.0), ase.build.bulk("Si", cubic=True)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
        found = model.predict(atoms, derivatives=["forces"])
        zero = sum(SHIFT[symbol] for symbol in atoms.get_chemical_symbols())
        atoms.calc = SinglePointCalculator(atoms, energy=found["energy"] + zero, forces=found["forces"])
    ase.io.write(place / "frames.extxyz", frames)
    return place


def test_the_zero_is_found_and_the_result_says_so(folder):
    plain = zoo.evaluate(folder / "own", data=folder / "frames.extxyz", dtype="float64")
    assert plain.value("energy", "mae_per_atom") > 1000 and not plain.energy_shifts
    found = zoo.evaluate(folder / "own", data=folder / "frames.extxyz", dtype="float64", align_energies=True)
    assert found.split == f"{plain.split}, energies aligned"
    assert found.energy_shifts == pytest.approx(SHIFT, abs=1e-4) and found.to_dict()["energy_shifts"]
    assert found.value("energy", "mae_per_atom") < 0.1 and found.value("forces") == plain.value("forces")
    np.testing.assert_allclose(found.results["energy"].error, 0, atol=1e-4)


def test_the_command_prints_the_shifts(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, ["evaluate", str(folder / "own"), "--data", str(folder / "frames.extxyz"),
                                   "--align-energies"])
    assert ran.exit_code == 0, ran.exception
    assert "Si +3.250" in ran.output.replace("\n", " ") and "fitted to the labels" in ran.output.replace("\n", " ")


def test_what_differs_between_structures_of_one_composition_stays():
    error = np.array([0.2, -0.2, 0.4, -0.4])
    counts = np.full((4, 1), 2.0)
    given = TargetResult("eV", 7.0 + error, np.zeros(4), np.arange(4), np.zeros(4), atoms=np.full(4, 2),
                         composition=counts)
    found, shifts = aligned(given, [14])
    assert shifts == {"Si": pytest.approx(-3.5)}
    np.testing.assert_allclose(found.error, error, atol=1e-12)
    np.testing.assert_allclose(found.baseline, -7.0)


def test_nothing_is_fitted_where_no_error_would_be_left_or_there_is_no_energy(folder):
    with pytest.raises(EvaluationError, match="energies of 1 elements cannot be fitted to 1 structures"):
        zoo.evaluate(folder / "own", data=folder / "frames.extxyz", limit=1, align_energies=True)
    with pytest.raises(EvaluationError, match="no energy among the labels"):
        _aligned(zoo.load(folder / "own"), {})
