"""QM9's labels next to every kind of geometry: joined by molecule, split by molecule, the same structures each time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from zoo.data.qm9 import open_qm9
from zoo.data.qm9_any_geometry import BETWEEN, GEOMETRIES, NOISE, between, open_any_geometry
from zoo.data.qm9_geometries import make, open_geometries
from zoo.data.sample import open_sample
from zoo.data.splits import named_rows
from zoo.errors import DataError
from zoo.structures.geometries import aligned, rmsd

pytest.importorskip("rdkit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("geometries")
    make(open_sample(cutoff=None), made, kinds=["bonds", "mmff", "smiles"], splits=["test", "train"], limit=6)
    return made


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        return open_any_geometry(folder)


def test_every_structure_has_the_labels_of_its_molecule(store):
    qm9 = open_sample(cutoff=None)
    u0 = dict(zip(qm9.ids.tolist(), qm9.labels["U0"].tolist()))
    assert store.labels["U0"].tolist() == [u0[gdb] for gdb in store.ids.tolist()]
    counts = torch.bincount(store.labels["geometry"].long(), minlength=len(GEOMETRIES)).tolist()
    assert counts[0] == len(qm9) and counts[GEOMETRIES.index("mmff")] == 12
    assert 12 <= counts[GEOMETRIES.index("smiles")] <= 36 and counts[GEOMETRIES.index("xtb")] == 0


def test_no_molecule_is_in_two_splits_and_nothing_made_up_is_tested(store):
    rows = {part: named_rows(store, part) for part in ("train", "test")}
    ids = {part: set(store.ids[row].tolist()) for part, row in rows.items()}
    assert not ids["train"] & ids["test"] and sum(len(row) for row in rows.values()) == len(store)
    made_up = GEOMETRIES.index("between")
    assert made_up not in store.labels["geometry"][rows["test"]].tolist()
    assert made_up in store.labels["geometry"][rows["train"]].tolist()


def test_structures_between_are_near_both_minima_and_repeat(folder):
    qm9, mmff = open_sample(cutoff=None), open_geometries(folder, "mmff", qm9=open_sample(cutoff=None))
    made, again = between(qm9, mmff), between(qm9, mmff)
    assert torch.equal(made.pos, again.pos) and len(made)
    for row, gdb in enumerate(made.ids.tolist()):
        pos = [store.pos[store.ptr[at] : store.ptr[at + 1]].double().numpy() for store, at in
               ((made, row), (qm9, qm9.ids.tolist().index(gdb)), (mmff, mmff.ids.tolist().index(gdb)))]
        assert max(rmsd(pos[0], pos[1]), rmsd(pos[0], pos[2])) < max(BETWEEN) * rmsd(pos[1], pos[2]) + 4 * NOISE


def test_no_structure_is_made_between_conformers_whose_groups_are_turned(folder):
    qm9 = open_sample(cutoff=None)
    mmff = open_geometries(folder, "mmff", splits=["train"], qm9=qm9)
    apart = mmff.pos.clone()
    apart[int(mmff.ptr[1]) - 1] += 1.0  # one atom of the first molecule
    kept = between(qm9, replace(mmff, pos=apart))
    assert int(mmff.ids[0]) not in kept.ids.tolist() and int(mmff.ids[1]) in kept.ids.tolist()


def test_alignment_rotates_but_never_mirrors():
    pos = np.random.default_rng(0).normal(size=(7, 3))
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turn *= np.linalg.det(turn)
    assert np.allclose(aligned(pos @ turn + 3.0, pos), pos)
    assert rmsd(-pos, pos) > 0.3


def test_the_folder_is_also_data_of_a_card_that_trained_on_qm9(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    opened = open_qm9(folder)
    assert opened.meta["kinds"]["names"] == list(GEOMETRIES)
    assert torch.equal(opened.ids, open_any_geometry(folder).ids)


def test_without_geometries_the_command_that_makes_them_is_named(tmp_path):
    with pytest.raises(DataError, match=r"Fix: make them with `zoo data make qm9-geometries`"):
        open_any_geometry(tmp_path)
