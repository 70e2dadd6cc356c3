"""The store: a gathered batch is the same as structures handed in one by one, with no Python per structure."""

from __future__ import annotations

import json
from dataclasses import replace

import ase.build
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.data import Store, from_atoms, open_sample, to_atoms, with_edges
from zoo.data.pointclouds import point_clouds
from zoo.errors import DataError
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges


@pytest.fixture(scope="module")
def sample() -> Store:
    return open_sample()


@pytest.fixture(scope="module")
def crystals() -> Store:
    """Periodic and molecular structures together, one with more than 256 atoms, with every optional input."""
    frames = [ase.build.bulk("Si"), ase.build.molecule("H2O"), ase.build.bulk("Cu", cubic=True) * (5, 5, 3),
              ase.Atoms("He"), ase.build.fcc111("Al", (2, 2, 2), vacuum=4.0)]
    random = np.random.default_rng(0)
    for k, atoms in enumerate(frames):
        atoms.info |= {"E": -1.5 * k, "charge": k - 1.0, "spin": float(k)}
        atoms.set_array("F", random.normal(size=(len(atoms), 3)))
        atoms.set_array("node_attrs", random.normal(size=(len(atoms), 2)))
        atoms.set_array("node_vectors", random.normal(size=(len(atoms), 2, 3)))
    store = from_atoms(frames, properties={"energy": "E", "forces": "F"}, units={"energy": "eV", "forces": "eV/Å"},
                       inputs=("charge", "spin", "node_attrs", "node_vectors"))
    return with_edges(store, 4.0)


def test_a_batch_equals_the_same_structures_from_ase(sample):
    rows = torch.tensor([499, 0, 17, 17, 250])
    graph = sample.graph(rows, dtype=torch.float64)
    expected = add_edges(Graph.from_atoms([to_atoms(sample, int(r)) for r in rows], dtype=torch.float64), 5.0)
    for name in ("z", "pos", "batch", "ptr", "edge_index"):
        assert torch.equal(getattr(graph, name), getattr(expected, name)), name
    assert graph.z.dtype == graph.edge_index.dtype == graph.batch.dtype == torch.int64
    assert graph.cutoff == 5.0
    assert bool((graph.target.diff() >= 0).all())


def test_a_periodic_batch_keeps_cells_images_and_inputs(crystals):
    assert crystals.edges.index.dtype == torch.int16 and crystals.edges.shift.dtype == torch.int8
    rows = torch.tensor([2, 4, 0, 3])
    graph = crystals.graph(rows, dtype=torch.float64)
    inputs = ("charge", "spin", "node_attrs", "node_vectors")
    frames = [to_atoms(crystals, int(r)) for r in rows]
    expected = add_edges(Graph.from_atoms(frames, dtype=torch.float64, inputs=inputs), 4.0)
    for name in ("z", "pos", "pbc", "cell", *inputs):
        assert torch.equal(getattr(graph, name), getattr(expected, name)), name
    edges = {(*pair, *shift) for pair, shift in zip(graph.edge_index.T.tolist(), graph.edge_shift.tolist())}
    assert edges == {(*pair, *shift) for pair, shift in zip(expected.edge_index.T.tolist(),
                                                            expected.edge_shift.tolist())}
    assert len(edges) == graph.num_edges


def test_labels_follow_their_rows_and_atoms(crystals):
    labels = crystals.labels_of([4, 0], ["forces", "energy"])
    assert labels["energy"].tolist() == [-6.0, 0.0]
    assert np.array_equal(labels["forces"][:8].numpy(), to_atoms(crystals, 4).arrays["forces"])
    assert np.array_equal(labels["forces"][8:].numpy(), to_atoms(crystals, 0).arrays["forces"])
    assert all(value.dtype == torch.float64 for value in labels.values())
    with pytest.raises(DataError, match=r"no label 'U1'.*energy, forces"):
        crystals.labels_of([0], ["U1"])


def test_a_subset_is_a_store_of_its_own(crystals, tmp_path):
    rows = torch.tensor([3, 2, 0])
    part = crystals.subset(rows)
    part.save(tmp_path / "part")
    for store in (part, Store.load(tmp_path / "part")):
        one, other = store.graph([0, 1, 2]), crystals.graph(rows)
        assert torch.equal(one.edge_index, other.edge_index) and torch.equal(one.edge_shift, other.edge_shift)
        assert torch.equal(one.node_vectors, other.node_vectors)
        assert torch.equal(store.labels_of([1])["forces"], crystals.labels_of([2])["forces"])
        assert store.ids.tolist() == [3, 2, 0]


def test_given_edges_and_their_attributes_come_through_unchanged(tmp_path):
    clouds = point_clouds(20, seed=1)
    clouds.save(tmp_path / "clouds")
    graph = Store.load(tmp_path / "clouds").graph([7, 3], dtype=torch.float64)
    assert graph.cutoff is None and bool((graph.target.diff() >= 0).all())
    vec = graph.pos[graph.source] - graph.pos[graph.target]
    length = vec.norm(dim=1)
    a, v, owner = graph.node_attrs, graph.node_vectors[:, 0], graph.batch
    pair = graph.edge_attrs[:, 0] * a[graph.source, 0] * a[graph.target, 0] * torch.exp(-length)
    strength = torch.zeros(2).double().index_add(0, owner[graph.target], pair)
    strength = strength.index_add(0, owner, a[:, 1] * v.square().sum(1))
    torch.testing.assert_close(strength, clouds.labels_of([7, 3])["strength"])


def test_empty_selections_and_lone_atoms_are_batches_too(sample, crystals):
    assert sample.graph([]).num_graphs == 0
    lone = crystals.graph([3])
    assert lone.num_nodes == 1 and lone.num_edges == 0


def test_composition_counts_every_element(sample):
    counts = sample.composition([1, 6, 8])
    row = 5
    atoms = to_atoms(sample, row)
    assert counts[row].tolist() == [int((atoms.numbers == z).sum()) for z in (1, 6, 8)]
    assert int(sample.composition().sum()) == len(sample.z)


def test_coinciding_atoms_are_named_when_edges_are_made(sample):
    pos = sample.pos.clone()
    first = int(sample.ptr[12])
    pos[first + 2] = pos[first]
    with pytest.raises(DataError, match=rf"structure 12 \(id {int(sample.ids[12])}\): atoms (0 and 2|2 and 0) "):
        with_edges(replace(sample, pos=pos), 5.0)


def test_edges_are_of_the_cutoff_asked_for(sample):
    with pytest.raises(DataError, match="must be positive"):
        with_edges(sample, 0.0)
    narrow = with_edges(sample, 2.0)
    assert narrow.graph([0]).cutoff == 2.0
    assert int(narrow.n_edges.sum()) < int(sample.n_edges.sum())
    with pytest.raises(DataError, match="with_edges"):
        _ = replace(sample, edges=None).n_edges


def test_columns_of_the_wrong_size_are_refused(sample):
    with pytest.raises(DataError, match=r"'pos' .*expected \(8525, 3\)"):
        replace(sample, pos=sample.pos[:-1])
    with pytest.raises(DataError, match="float64"):
        replace(sample, labels={"mu": sample.labels["mu"].float()})
    with pytest.raises(DataError, match="no unit"):
        replace(sample, units={})


def test_a_saved_store_is_the_same_and_the_same_bytes(sample, tmp_path):
    sample.save(tmp_path / "a")
    again = Store.load(tmp_path / "a", verify=True)
    again.save(tmp_path / "b")
    assert (tmp_path / "a" / "store.safetensors").read_bytes() == (tmp_path / "b" / "store.safetensors").read_bytes()
    assert again.units == sample.units and again.meta == sample.meta
    assert torch.equal(again.labels["U0"], sample.labels["U0"])
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def test_nothing_is_overwritten_unasked(sample, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(DataError, match="exists already"):
        sample.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "precious"
    sample.save(tmp_path / "mine", overwrite=True)
    assert len(Store.load(tmp_path / "mine")) == len(sample)


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "no header", "newer", "other header"])
def test_a_damaged_store_says_what_is_wrong(sample, tmp_path, damage):
    folder = sample.save(tmp_path / "s")
    data, header = folder / "store.safetensors", folder / "store.json"
    content = data.read_bytes()
    if damage == "truncate":
        data.write_bytes(content[:-100])
        message = f"{len(content) - 100} bytes"
    elif damage == "flip":
        data.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        message = "sha256"
    elif damage == "remove":
        data.unlink()
        message = "incomplete"
    elif damage == "no header":
        header.unlink()
        message = "no store.json"
    elif damage == "newer":
        header.write_text(json.dumps(json.loads(header.read_text()) | {"format": 99}))
        message = "pip install -U geometric-zoo"
    else:
        header.write_text("[1, 2]")
        message = "no store header"
    with pytest.raises(DataError, match=message):
        Store.load(folder)


def test_a_failed_save_leaves_no_half_store(sample, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.data.files.sha256_of", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sample.save(tmp_path / "half")
    assert list(tmp_path.iterdir()) == []


class CountOps(TorchDispatchMode):
    """Counts the tensor operations that run inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_a_batch_of_four_hundred_takes_as_many_operations_as_one_of_two(crystals, sample):
    for store, many in ((sample, 400), (crystals, 5)):
        counts = []
        for rows in (torch.arange(2), torch.arange(many)):
            store.graph([0])
            with CountOps() as ops:
                store.graph(rows)
                store.labels_of(rows)
            counts.append(ops.count)
        assert counts[0] == counts[1] < 100
