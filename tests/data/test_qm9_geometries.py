"""Geometries made from QM9: the same molecules, in QM9's order of atoms, resumable, and failures written down."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from zoo.data import qm9_geometries
from zoo.data.qm9_geometries import make, open_geometries
from zoo.data.sample import open_sample
from zoo.errors import DataError, StructureError
from zoo.structures.bonds import molecule_from_geometry, same_bonds, same_stereo, smiles_of
from zoo.structures.conformers import Minimum, conformers, distinct, mmff_minimum
from zoo.structures.geometries import OF_KIND, molecule_geometries, rmsd

pytest.importorskip("rdkit")
Chem = pytest.importorskip("rdkit.Chem")


@pytest.fixture(scope="module")
def sample():
    return open_sample(cutoff=None)


@pytest.fixture(scope="module")
def made(sample, tmp_path_factory):
    """Four test and four training molecules of the sample, every kind but xTB."""
    folder = tmp_path_factory.mktemp("geometries")
    listed = make(sample, folder, kinds=["bonds", "mmff", "smiles"], splits=["test", "train"], limit=4)
    return folder, listed


def geometry(smiles: str, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    molecule, minima = conformers(smiles, count=1, seed=seed)
    return np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()]), minima[0].positions


@pytest.mark.parametrize("smiles", [
    "C[C@H](N)C(=O)O", "F/C=C/C", "F/C=C\\C", "c1ccc2[nH]ccc2c1", "CC#N", "C1C2CC1C2", "O", "C[NH2+]CC(=O)[O-]",
])
def test_bonds_and_stereochemistry_come_back_from_the_geometry(smiles):
    assert smiles_of(molecule_from_geometry(*geometry(smiles))) == smiles_of(Chem.AddHs(Chem.MolFromSmiles(smiles)))


def test_every_molecule_of_the_sample_has_bonds(sample):
    for row in range(0, len(sample), 5):
        a, b = sample.ptr[row], sample.ptr[row + 1]
        molecule_from_geometry(sample.z[a:b].numpy(), sample.pos[a:b].numpy())


def test_a_geometry_that_is_no_neutral_molecule_is_refused():
    with pytest.raises(StructureError, match=r"in several pieces.*Fix:"):
        molecule_from_geometry(np.array([2, 2]), np.array([[0.0, 0, 0], [9, 0, 0]]))
    with pytest.raises(StructureError, match=r"Fix:"):  # methyl
        molecule_from_geometry(np.array([6, 1, 1, 1]),
                               np.array([[0, 0, 0], [1.08, 0, 0], [-0.54, 0.935, 0], [-0.54, -0.935, 0]]))


def test_a_mirror_image_and_a_broken_bond_are_seen():
    numbers, positions = geometry("C[C@H](N)O")
    molecule = molecule_from_geometry(numbers, positions)
    assert same_bonds(molecule, positions) and same_stereo(molecule, positions)
    mirrored = positions * [-1, 1, 1]
    assert same_bonds(molecule, mirrored) and not same_stereo(molecule, mirrored)
    positions = positions.copy()
    positions[-1] += 3.0
    assert not same_bonds(molecule, positions)


def test_stereochemistry_that_the_smiles_leaves_open_may_be_either():
    molecule, minima = conformers("CC(N)O", count=2)
    assert same_stereo(molecule, minima[0].positions) and same_stereo(molecule, minima[0].positions * [-1, 1, 1])


def test_cages_that_the_volume_test_refuses_are_embedded():
    smiles = "COC(=O)[C@H]1[C@H]2C[C@@H]1C2"
    molecule, minima = conformers(smiles, count=4, seed=3)
    assert all(same_bonds(molecule, one.positions) and same_stereo(molecule, one.positions) for one in minima)


def test_conformers_are_distinct_ascending_and_repeatable():
    molecule, minima = conformers("CCCCO", count=10, seed=5)
    energies = [one.energy for one in minima]
    assert energies == sorted(energies) and len(minima) > 2
    again = conformers("CCCCO", count=10, seed=5)[1]
    assert all(np.array_equal(one.positions, other.positions) for one, other in zip(minima, again))
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    mirrored = [Minimum(one.positions * [1, 1, -1] + 2.0, one.energy) for one in minima]
    assert len(distinct(numbers, [*minima, *mirrored])) == len(minima)


def test_a_minimum_is_one():
    molecule = molecule_from_geometry(*geometry("CCO"))
    molecule.GetConformer().SetPositions(molecule.GetConformer().GetPositions() * 1.02)
    once = mmff_minimum(molecule)
    molecule.GetConformer().SetPositions(once.positions)
    twice = mmff_minimum(molecule)
    assert abs(once.energy - twice.energy) < 1e-6 and rmsd(once.positions, twice.positions) < 1e-3


def test_rmsd_knows_rotation_but_no_reflection():
    positions = np.random.default_rng(0).normal(size=(7, 3))
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    rotation = rotation * np.linalg.det(rotation)
    assert rmsd(positions, positions @ rotation + 4.0) < 1e-6
    assert rmsd(positions, positions @ rotation * [1, 1, -1]) > 0.1


def test_atoms_are_in_the_order_of_qm9(sample, made):
    folder, _ = made
    row_of = {gdb: row for row, gdb in enumerate(sample.ids.tolist())}
    for kind in ("bonds", "mmff", "smiles"):
        store = open_geometries(folder, kind)
        for k, gdb in enumerate(store.ids.tolist()):
            row = row_of[gdb]
            a, b = sample.ptr[row], sample.ptr[row + 1]
            z, pos = store.z[store.ptr[k] : store.ptr[k + 1]], store.pos[store.ptr[k] : store.ptr[k + 1]]
            assert torch.equal(z, sample.z[a:b])
            molecule = molecule_from_geometry(z.numpy(), sample.pos[a:b].numpy())
            assert same_bonds(molecule, pos.numpy().astype(np.float64))
            assert kind == "mmff" or same_stereo(molecule, pos.numpy().astype(np.float64))


def test_splits_do_not_mix_and_labels_are_joined(sample, made):
    folder, listed = made
    for split in ("test", "train"):
        store = open_geometries(folder, "smiles", splits=[split], qm9=sample)
        assert set(store.ids.tolist()) <= set(sample.meta["subsets"][split])
        assert len(set(store.ids.tolist())) == listed["smiles"][split]["molecules"]
        rows = torch.tensor([sample.ids.tolist().index(gdb) for gdb in store.ids.tolist()])
        assert torch.equal(store.labels["U0"], sample.labels["U0"][rows]) and store.units["U0"] == "eV"
    energies = open_geometries(folder, "smiles").labels["mmff_energy"]
    ids = open_geometries(folder, "smiles").ids
    assert bool((energies.diff() >= 0)[ids[1:] == ids[:-1]].all())


def test_bonds_are_kept_as_edges(made):
    store = open_geometries(made[0], "bonds")
    graph = store.graph([0, 1])
    valence = torch.zeros(len(graph.z)).index_add_(0, graph.edge_index[1], graph.edge_attrs[:, 0])
    assert bool((valence[graph.z == 1] == 1).all()) and bool((valence[graph.z == 6] >= 3).all())
    assert len(store.meta["smiles"]) == len(store)


def test_what_is_made_is_kept_and_the_rest_is_added(sample, made, tmp_path, monkeypatch):
    folder = tmp_path / "more"
    shutil.copytree(made[0], folder)
    before = open_geometries(folder, "mmff", splits=["test"])
    first = json.loads((folder / "geometries.json").read_text())
    monkeypatch.setattr(qm9_geometries, "molecule_geometries", None)  # nothing is computed anew
    assert make(sample, folder, kinds=["mmff"], splits=["test"], limit=4) == first
    monkeypatch.undo()
    make(sample, folder, kinds=["mmff"], splits=["test"], limit=5)
    after = open_geometries(folder, "mmff", splits=["test"])
    assert len(after) == 5 and torch.equal(after.pos[: len(before.pos)], before.pos)


def test_two_processes_make_what_one_makes(sample, made, tmp_path):
    listed = make(sample, tmp_path, kinds=["mmff"], splits=["test"], limit=4, workers=2)
    assert listed["mmff"]["test"] == made[1]["mmff"]["test"]


def test_other_versions_do_not_mix(sample, made, monkeypatch):
    monkeypatch.setattr(qm9_geometries, "_versions", lambda kind: {"rdkit": "1.0"})
    with pytest.raises(DataError, match=r"1\.0.*Fix:"):
        make(sample, made[0], kinds=["mmff"], splits=["test"], limit=4)


def test_failures_are_listed_with_their_reason(sample, tmp_path, monkeypatch):
    def fails(gdb, numbers, positions):
        raise StructureError("MMFF94 has no parameters for this molecule. Fix: nothing.")

    monkeypatch.setitem(OF_KIND, "mmff", fails)
    listed = make(sample, tmp_path, kinds=["mmff"], splits=["test"], limit=2)
    assert listed["mmff"]["test"]["reasons"] == {"MMFF94 has no parameters for this molecule": 2}
    rows = list(csv.DictReader((tmp_path / "failures.csv").read_text().splitlines()))
    assert len(rows) == 2 and {row["reason"] for row in rows} == {"MMFF94 has no parameters for this molecule."}
    assert len(open_geometries(tmp_path, "mmff")) == 0


@pytest.mark.skipif(importlib.util.find_spec("tblite") is None, reason="needs tblite")
def test_the_xtb_minimum_of_water():
    numbers, positions = np.array([8, 1, 1]), np.array([[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
    made = molecule_geometries("xtb", 3, numbers, positions)
    assert made.failure is None
    bond = np.linalg.norm(made.positions[0][0] - made.positions[0][1])
    assert bond == pytest.approx(0.959, abs=0.003)  # GFN2-xTB, Bannwarth et al. 2019


def test_the_command(tmp_path):
    from importlib.resources import files

    from zoo.cli.hub import data

    source = str(files("zoo.data").joinpath("samples", "qm9"))
    run = CliRunner().invoke(data, ["make", "qm9-geometries", "--out", str(tmp_path), "--data", source,
                                    "--only", "mmff", "--split", "test", "--limit", "2", "-q"])
    assert run.exit_code == 0, run.output
    assert "mmff, test: 2 of 10,831 molecules, 2 structures, 0 failed" in run.output
    assert "Fix: zoo data make qm9-geometries" in str(CliRunner().invoke(data, ["make", "qm9-geometry"]).exception)
