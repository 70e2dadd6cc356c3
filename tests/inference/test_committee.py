"""Mean and spread of several models: what can be compared between them, and what cannot."""

from __future__ import annotations

import json

import ase
import ase.build
import ase.io
import numpy as np
import pytest
import torch
from ase.collections import dcdft
from springs import morse_model
from typer.testing import CliRunner

import zoo
from zoo.cli import app
from zoo.errors import StructureError, ZooError
from zoo.inference import committee

DEPTHS = (1.0, 1.2, 1.7)


@pytest.fixture(scope="module")
def models():
    """Energies and forces are proportional to the depth, so that all spreads are known."""
    return [morse_model((14, 29, 60), depth=depth) for depth in DEPTHS]


def crystal(symbols="SiCu", a=5.2):
    atoms = ase.build.bulk(symbols, "zincblende", a=a, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def test_means_and_spreads_follow_from_the_models(models):
    (found,) = committee(models, [crystal()])
    one = models[0].predict(crystal(), derivatives=["forces", "stress"])
    mean, spread = np.mean(DEPTHS), np.std(DEPTHS, ddof=1)
    np.testing.assert_allclose(found.forces, mean * one["forces"], atol=1e-10)
    np.testing.assert_allclose(found.forces_spread, spread * np.linalg.norm(one["forces"], axis=1), atol=1e-10)
    np.testing.assert_allclose(found.stress, mean * one["stress"], atol=1e-12)
    assert found.stress_spread == pytest.approx(spread * np.sqrt(np.square(one["stress"]).mean()))


def test_formation_energies_have_each_models_own_zero(models):
    atoms = crystal()
    expected = []
    for model in models:
        elements = {name: model.predict(dcdft[name])["energy"] / len(dcdft[name]) for name in ("Si", "Cu")}
        energy = model.predict(atoms)["energy"] - sum(elements[name] for name in atoms.get_chemical_symbols())
        expected.append(energy / len(atoms))
    (found,) = committee(models, [atoms])
    np.testing.assert_allclose(found.formation, expected, atol=1e-10)
    assert found.formation_mean == pytest.approx(np.mean(expected))
    assert found.formation_spread == pytest.approx(np.std(expected, ddof=1))
    # An element is its own reference, whatever a model's zero.
    (silicon,) = committee(models, [dcdft["Si"]])
    np.testing.assert_allclose(silicon.formation, 0, atol=1e-10)


def test_a_molecule_has_no_stress_and_a_lanthanide_no_reference(models):
    dimer = ase.Atoms("SiCu", positions=[[0, 0, 0], [2.4, 0, 0]])
    molecule, rare = committee(models, [dimer, crystal("NdSi")])
    assert molecule.stress is None and molecule.formation is not None
    assert rare.formation is None and rare.formation_mean is None and "crystal of Nd" in rare.without_formation
    assert rare.forces.shape == (8, 3)


def test_a_structure_that_one_model_refuses_costs_only_itself(models):
    narrow = morse_model((14,))
    with pytest.raises(StructureError, match="Cu"):
        committee([models[0], narrow], [crystal(), ase.build.bulk("Si")])
    refused, fine = committee([models[0], narrow], [crystal(), ase.build.bulk("Si")], on_error="keep")
    assert isinstance(refused, ZooError) and fine.forces.shape == (2, 3)
    with pytest.raises(ZooError, match="at least two models"):
        committee(models[:1], [crystal()])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("committee")
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        zoo.save(zoo.create("schnet", preset="small", elements=["Si", "Cu"], cutoff=4.0), place / name, name=name,
                 domain={"elements": ["Si", "Cu"], "pbc": True})
    ase.io.write(place / "a.extxyz", [crystal(), ase.build.bulk("Si")])
    ase.io.write(place / "b.extxyz", ase.build.bulk("Fe"))
    return place


def predict(folder, *more):
    models = f"{folder / 'one'},{folder / 'two'}"
    return CliRunner().invoke(app, ["predict", str(folder / "a.extxyz"), "--models", models, *map(str, more)],
                              env={"COLUMNS": "200"})


def test_the_command_prints_and_writes_means_with_spreads(folder, tmp_path):
    shown = predict(folder)
    assert shown.exit_code == 0, shown.exception
    assert "a.extxyz#0" in shown.output and "not an error bar" in shown.output and "dcdft" in shown.output
    done = predict(folder, "--json", "-q", "-o", tmp_path / "out.extxyz")
    first, second = json.loads(done.stdout)["results"]
    assert len(first["forces_spread_eV_A"]) == 8 and first["formation_energy_eV_per_atom"]["spread"] > 0
    assert second["stress_spread_eV_A3"] > 0
    written = ase.io.read(tmp_path / "out.extxyz", 0)
    np.testing.assert_allclose(written.get_forces(), first["forces_eV_A"], atol=1e-6)
    assert written.arrays["forces_spread"].shape == (8,)


def test_what_fails_is_named_and_the_rest_is_kept(folder):
    done = predict(folder, folder / "b.extxyz")
    assert done.exit_code == 2 and "error: b.extxyz" in done.output and "a.extxyz#1" in done.output
    for arguments, message in ((["predict", "x.cif", "--models", "a"], "two or more"),
                               (["predict", "--models", "a,b"], "nothing to predict"),
                               (["predict", "x.cif", "--models", "a,b", "-m", "c"], "takes structure files"),
                               (["predict", "x.cif", "--models", "a,b", "-o", "x.csv"], "extended XYZ")):
        assert message in str(CliRunner().invoke(app, arguments).exception)
