"""Edges: all images, any cell, no truncation, one edge set whatever the method."""

from __future__ import annotations

import ase.build
import numpy as np
import pytest
import torch
from ase.neighborlist import neighbor_list

from zoo.errors import StructureError
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges, edge_vectors, reverse_edges


def edge_set(graph: Graph) -> list[tuple]:
    shift = torch.zeros(graph.num_edges, 3) if graph.edge_shift is None else graph.edge_shift
    return sorted((*e, *s) for e, s in zip(graph.edge_index.T.tolist(), shift.round().long().tolist()))


def by_ase(frames: list[ase.Atoms], cutoff: float) -> list[tuple]:
    edges, offset = [], 0
    for atoms in frames:
        i, j, S = neighbor_list("ijS", atoms, cutoff)
        edges += [(int(b) + offset, int(a) + offset, *map(int, s)) for a, b, s in zip(i, j, S)]
        offset += len(atoms)
    return sorted(edges)


def rattled(atoms: ase.Atoms, seed: int = 0) -> ase.Atoms:
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=seed)
    return atoms


def crystals() -> dict[str, ase.Atoms]:
    sheared = ase.build.bulk("Cu", cubic=True)
    sheared.set_cell(sheared.cell @ np.array([[1, 0, 0], [1.4, 1, 0], [-0.8, 0.6, 1]]), scale_atoms=True)
    outside = rattled(ase.build.bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    outside.positions += np.random.default_rng(0).integers(-2, 3, (len(outside), 3)) @ outside.cell.array
    slab = ase.build.fcc111("Al", (2, 2, 3), vacuum=6.0)
    wire = ase.Atoms("Au2", positions=[[0, 0, 0], [0.3, 2.1, 1.2]], cell=[0, 0, 2.9], pbc=[False, False, True])
    return {
        "one atom, cut-off of two cells": ase.build.bulk("Cu"),
        "small primitive cell": rattled(ase.build.bulk("Si")),
        "strongly sheared": rattled(sheared),
        "left-handed": ase.Atoms("Si2", scaled_positions=[[0, 0, 0], [0.25, 0.25, 0.3]], pbc=True,
                                 cell=ase.build.bulk("Si").cell.array[::-1]),
        "atoms outside the cell": outside,
        "slab": slab,
        "wire": wire,
        "larger than the cut-off": rattled(ase.build.bulk("Cu", cubic=True).repeat(4)),
    }


@pytest.mark.parametrize("method", ["vesin", "cells"])
@pytest.mark.parametrize("name", crystals())
def test_every_image_is_found(name, method):
    atoms = crystals()[name]
    graph = add_edges(Graph.from_atoms(atoms, dtype=torch.float64), 5.0, method=method)
    assert edge_set(graph) == by_ase([atoms], 5.0)
    vec = edge_vectors(graph, graph.pos, graph.cell)
    assert float(vec.norm(dim=1).max()) < 5.0
    assert bool((graph.target.diff() >= 0).all())


@pytest.mark.parametrize("method", ["pairs", "vesin", "cells"])
def test_a_batch_of_molecules_of_all_sizes(method):
    frames = [ase.build.molecule(n) for n in ("C6H6", "H", "H2O", "CH3CH2OH", "Li")]
    frames[2].positions += 50
    graph = add_edges(Graph.from_atoms(frames, dtype=torch.float64), 2.6, method=method)
    assert edge_set(graph) == by_ase(frames, 2.6)


def test_no_neighbour_is_dropped_in_a_dense_cluster():
    pos = torch.rand(150, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    graph = Graph.from_tensors(torch.full((150,), 6), pos)
    counts = {m: add_edges(graph, 6.0, method=m).num_edges for m in ("pairs", "vesin", "cells")}
    assert set(counts.values()) == {150 * 149}


def test_a_periodic_and_an_isolated_structure_share_a_batch():
    crystal, molecule = ase.build.bulk("Si"), ase.build.molecule("H2O")
    molecule.cell = np.eye(3) * 4.0
    graph = add_edges(Graph.from_atoms([crystal, molecule], dtype=torch.float64), 4.0)
    assert edge_set(graph) == by_ase([crystal, molecule], 4.0)


@pytest.mark.parametrize("method", ["vesin", "cells"])
def test_the_reverse_edge_is_the_opposite_vector(method):
    frames = [rattled(ase.build.bulk("Si")), ase.build.bulk("Cu")]
    graph = add_edges(Graph.from_atoms(frames, dtype=torch.float64), 5.0, method=method)
    vec, reverse = edge_vectors(graph, graph.pos, graph.cell), reverse_edges(graph)
    assert torch.equal(graph.source[reverse], graph.target)
    torch.testing.assert_close(vec[reverse], -vec)
    assert torch.equal(reverse[reverse], torch.arange(graph.num_edges))


def test_a_directed_graph_has_no_reverse():
    graph = Graph.from_tensors(torch.tensor([1, 1]), torch.zeros(2, 3)).with_edges(torch.tensor([[0], [1]]))
    with pytest.raises(StructureError, match="undirected"):
        reverse_edges(graph)


def test_a_cell_without_volume_is_refused():
    atoms = ase.Atoms("H", cell=np.zeros((3, 3)), pbc=False)
    graph = Graph.from_atoms(atoms).replace(cell=torch.zeros(1, 3, 3), pbc=torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(StructureError, match="volume"):
        add_edges(graph, 5.0)


def test_a_periodic_structure_without_a_cell_is_refused():
    graph = Graph.from_atoms(ase.Atoms("H")).replace(pbc=torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(StructureError, match="has no cell"):
        add_edges(graph, 5.0)


def test_a_graph_without_edges_says_so():
    with pytest.raises(StructureError, match="no edges"):
        _ = Graph.from_atoms(ase.Atoms("H")).target


def test_a_cell_in_the_wrong_unit_is_refused():
    atoms = ase.build.bulk("Si")
    atoms.set_cell(atoms.cell * 0.1, scale_atoms=True)
    with pytest.raises(StructureError, match="Is the unit Å"):
        add_edges(Graph.from_atoms(atoms), 6.0)


@pytest.mark.parametrize("method", ["vesin", "cells"])
def test_large_systems_scale_linearly_in_edges(method):
    atoms = ase.build.bulk("Cu", cubic=True).repeat(14)
    graph = add_edges(Graph.from_atoms(atoms, dtype=torch.float64), 4.0, method=method)
    assert graph.num_edges == len(atoms) * 18  # the two nearest shells of fcc

EXTENTS = {
    "sheet": ([3e3, 3e3, 5.43], (True, True, True)), "wide sheet": ([1e6, 1e6, 5.43], (True, True, True)),
    "needle": ([3.84, 3.84, 1e6], (True, True, True)), "cube": ([1e6, 1e6, 1e6], (True, True, True)),
    "slab in vacuum": ([1e4, 5.43, 1e8], (True, True, False)),
}


@pytest.mark.parametrize("name", EXTENTS)
def test_wide_structures_have_the_edges_of_the_linked_cells(name):
    """vesin ends the process with a floating-point exception on these, unless it is not asked."""
    cell, pbc = EXTENTS[name]
    atoms = ase.Atoms("Si3", positions=[[0, 0, 0], [1.35, 1.35, 1.35], [2.0, 1.0, 4.0]], cell=cell, pbc=pbc)
    found = add_edges(Graph.from_atoms(atoms, dtype=torch.float64), 5.0)
    expected = add_edges(Graph.from_atoms(atoms, dtype=torch.float64), 5.0, method="cells")
    assert found.num_edges >= 6 and edge_set(found) == edge_set(expected)


@pytest.mark.parametrize("extent", [1e7, 1e9, 1e12])
def test_an_atom_that_flew_off_is_alone(extent):
    positions = np.random.default_rng(0).uniform(0, 8, (300, 3))
    bound = add_edges(Graph.from_atoms(ase.Atoms("C300", positions=positions), dtype=torch.float64), 3.0).num_edges
    positions = np.vstack([positions, [extent, 0, 0]])
    flown = ase.Atoms("C301", positions=positions)
    assert add_edges(Graph.from_atoms(flown, dtype=torch.float64), 3.0).num_edges == bound



@pytest.mark.parametrize(("cell", "pbc", "says"), [
    (None, True, "periodic along a, b, c and has no lattice vector"),
    ([[3, 0, 0], [0, 3, 0], [0, 0, 0]], True, "periodic along c and has no"),
    ([[3, 0, 0], [0, 0, 0], [0, 0, 0]], (True, True, False), "periodic along b and has no"),
    ([[3, 0, 0], [6, 0, 0], [0, 0, 9]], True, "span no volume"),
    ([[3, 0, 0], [-3, 1e-5, 0], [0, 0, 0]], (True, True, False), "span no volume"),
    ([[3, 0, 0], [0, np.nan, 0], [0, 0, 3]], True, "not finite"),
], ids=["none", "no c", "no b", "parallel", "parallel in a slab", "nan"])
def test_a_periodic_direction_needs_a_lattice_vector(cell, pbc, says):
    atoms = ase.Atoms("Si2", positions=[[0, 0, 0], [0, 0, 2.3]], cell=cell, pbc=pbc)
    with pytest.raises(StructureError, match=f"structure 1.*{says}.* Fix: "):
        Graph.from_atoms([ase.build.bulk("Si"), atoms])


def test_directions_that_are_not_periodic_need_no_lattice_vector():
    chain = ase.Atoms("C2", positions=[[0, 0, 0], [1.3, 0, 0]], cell=[2.6, 0, 0], pbc=(True, False, False))
    assert add_edges(Graph.from_atoms(chain), 3.0).num_edges == 8


def random_structures(count: int) -> list[ase.Atoms]:
    """Molecules, slabs, wires, crystals of a fraction of the cut-off to several times it, skewed cells, lone atoms."""
    draw = np.random.default_rng(7)
    made = []
    for number in range(count):
        pbc = [(False,) * 3, (True,) * 3, (True, True, False), (True, False, False)][number % 4]
        cell = np.diag(draw.uniform(2.5, 14.0, 3)) @ (np.eye(3) + draw.normal(scale=0.4, size=(3, 3)))
        atoms = int(draw.integers(1, 12 if number % 4 else 30))
        positions = draw.uniform(-1, 2, (atoms, 3)) @ cell
        made.append(ase.Atoms(f"C{atoms}", positions=positions, cell=cell, pbc=pbc))
    return made


def test_the_search_of_a_whole_batch_gives_the_edges_of_each_structure():
    graph = Graph.from_atoms(random_structures(200), dtype=torch.float64)
    batched, by_one = (add_edges(graph, 4.0, method=method) for method in ("cells", "vesin"))
    assert torch.equal(batched.target, by_one.target)
    assert edge_set(batched) == edge_set(by_one)
    # vesin orders the edges of one atom in its own way; this search by source, then by shift.
    rows = torch.cat([batched.edge_index.flip(0).T, batched.edge_shift.long()], 1).tolist()
    assert rows == sorted(rows)


def test_molecules_have_the_order_of_all_pairs():
    frames = [ase.build.molecule(n) for n in ("C6H6", "H", "H2O", "CH3CH2OH", "Li")] * 3
    graph = Graph.from_atoms(frames, dtype=torch.float64)
    assert torch.equal(*(add_edges(graph, 2.6, method=method).edge_index for method in ("cells", "pairs")))


def test_many_pairs_are_taken_in_turns(monkeypatch):
    graph = Graph.from_atoms(random_structures(12), dtype=torch.float64)
    whole = add_edges(graph, 4.0, method="cells")
    monkeypatch.setattr("zoo.graph.cell_lists._PAIRS_AT_ONCE", 1000)
    parts = add_edges(graph, 4.0, method="cells")
    assert torch.equal(whole.edge_index, parts.edge_index) and torch.equal(whole.edge_shift, parts.edge_shift)
