"""Triplets, quadruplets and their dense tables, against loops and ASE."""

from __future__ import annotations

from collections import Counter

import ase.build
import numpy as np
import pytest
import torch
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.graph.graph import Graph
from zoo.graph.index_lists import quadruplets, triplets
from zoo.graph.neighbors import add_edges, edge_vectors, reverse_edges
from zoo.graph.tabulate import neighbor_tables, torsion_tables


def graph_of(atoms: Atoms | list[Atoms], cutoff: float) -> Graph:
    graph = add_edges(Graph.from_atoms(atoms, dtype=torch.float64), cutoff)
    vec = edge_vectors(graph, graph.pos, graph.cell)
    return graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1))


def crystal() -> Atoms:
    """A skewed cell smaller than the cut-offs below: atoms are their own neighbours, several times over."""
    cell = [[2.3, 0.2, 0], [0.4, 2.6, 0.1], [0, 0.3, 2.9]]
    return Atoms("CO", positions=[[0, 0, 0], [1.1, 0.9, 0.8]], cell=cell, pbc=True)


def slab() -> Atoms:
    atoms = ase.build.fcc111("Al", (1, 1, 3), a=3.2, vacuum=4.0)
    atoms.rattle(0.05, seed=1)
    return atoms


STRUCTURES = {
    "molecule": lambda: ase.build.molecule("CH3CH2OH"),
    "batch": lambda: [ase.build.molecule("CH4"), Atoms("He"), ase.build.molecule("C2H2"), ase.build.molecule("NH3")],
    "crystal": crystal,
    "slab": slab,
}
every_structure = pytest.mark.parametrize("name", STRUCTURES)


def edges_of(graph: Graph) -> list[tuple[int, int, tuple[int, ...]]]:
    """(source, target, shift) by edge."""
    shift = torch.zeros(graph.num_edges, 3) if graph.edge_shift is None else graph.edge_shift
    rows = zip(graph.source.tolist(), graph.target.tolist(), shift.round().long().tolist())
    return [(j, i, tuple(s)) for j, i, s in rows]


def looped_triplets(graph: Graph, cutoff: float) -> set[tuple[int, int]]:
    edges, length = edges_of(graph), graph.edge_len.tolist()
    found = set()
    for kj, (k, j, shift_k) in enumerate(edges):
        for ji, (source, i, shift_j) in enumerate(edges):
            if source != j or max(length[kj], length[ji]) >= cutoff:
                continue
            place_of_k = tuple(a + b for a, b in zip(shift_k, shift_j))
            if (k, place_of_k) != (i, (0, 0, 0)):
                found.add((kj, ji))
    return found


def looped_quadruplets(graph: Graph, cutoff: float, axis_cutoff: float) -> set[tuple[int, int, int]]:
    edges, length = edges_of(graph), graph.edge_len.tolist()
    found = set()
    for ca, (c, a, place_c) in enumerate(edges):
        for ba, (b, a2, place_b) in enumerate(edges):
            if a2 != a or (b, place_b) == (c, place_c) or length[ca] >= cutoff or length[ba] >= axis_cutoff:
                continue
            for db, (d, b2, shift) in enumerate(edges):
                place_d = tuple(s + t for s, t in zip(shift, place_b))
                if b2 == b and length[db] < cutoff and (d, place_d) not in ((a, (0, 0, 0)), (c, place_c)):
                    found.add((ca, ba, db))
    return found


@every_structure
@pytest.mark.parametrize("cutoff", [3.2, 2.4])
def test_triplets_are_those_of_three_nested_loops(name, cutoff):
    graph = graph_of(STRUCTURES[name](), 3.2)
    t = triplets(graph, cutoff=cutoff)
    pairs = list(zip(t.edge_kj.tolist(), t.edge_ji.tolist()))
    assert len(pairs) == len(set(pairs)) > 0
    assert set(pairs) == looped_triplets(graph, cutoff)
    assert t.edge_ji.tolist() == sorted(t.edge_ji.tolist())


@every_structure
@pytest.mark.parametrize(("cutoff", "axis"), [(2.2, 2.9), (2.9, 1.8), (2.6, 2.6)])
def test_quadruplets_are_those_of_nested_loops(name, cutoff, axis):
    graph = graph_of(STRUCTURES[name](), 2.9)
    q = quadruplets(graph, cutoff=cutoff, cutoff_interaction=axis)
    rows = list(zip(q.edge_ca.tolist(), q.edge_ba.tolist(), q.edge_db.tolist()))
    assert len(rows) == len(set(rows))
    assert set(rows) == looped_quadruplets(graph, cutoff, axis)


def test_an_atom_and_its_image_are_two_neighbours():
    """A chain with one atom a cell: k and i are the same atom, and only k→j = reverse of j→i is left out."""
    chain = Atoms("H", cell=[1.0, 9.0, 9.0], pbc=[True, False, False])
    t = triplets(graph_of(chain, 1.5))
    assert t.edge_kj.shape == (2,)
    assert torch.equal(t.edge_kj, t.edge_ji)


@pytest.mark.parametrize("name", ["molecule", "crystal"])
def test_dihedrals_are_those_of_ase(name):
    atoms = STRUCTURES[name]()
    graph = graph_of(atoms, 2.6)
    q = quadruplets(graph, cutoff=2.6, cutoff_interaction=2.0)
    x, length = graph.edge_vec, graph.edge_len
    axis = (x / length[:, None])[q.edge_ba]
    ca, db = x[q.edge_ca], x[q.edge_db]
    u = ca - (ca * axis).sum(1, keepdim=True) * axis
    v = db - (db * axis).sum(1, keepdim=True) * axis
    defined = (u.norm(dim=1) > 1e-6) & (v.norm(dim=1) > 1e-6)
    cos = ((u * v).sum(1) / (u.norm(dim=1) * v.norm(dim=1)))[defined]
    # One structure with all four images as atoms of their own, so that ASE needs no minimum image.
    expected = []
    for row in torch.nonzero(defined).flatten().tolist():
        a, b = np.zeros(3), x[q.edge_ba[row]].numpy()
        four = Atoms("H4", positions=[ca[row].numpy(), a, b, b + db[row].numpy()])
        expected.append(np.cos(np.radians(four.get_dihedral(0, 1, 2, 3))))
    assert len(expected) > 30
    np.testing.assert_allclose(cos.numpy(), expected, atol=1e-9)
    if name == "molecule":
        # … and with the atoms of the molecule itself, over a bond: H–C–C–O among them.
        j, i = graph.source.tolist(), graph.target.tolist()
        rows = zip(torch.nonzero(defined).flatten().tolist(), cos.tolist())
        for row, value in list(rows)[::7]:
            four = (j[q.edge_ca[row]], i[q.edge_ca[row]], j[q.edge_ba[row]], j[q.edge_db[row]])
            assert value == pytest.approx(np.cos(np.radians(atoms.get_dihedral(*four))), abs=1e-9)


@every_structure
@pytest.mark.parametrize("cutoff", [3.2, 2.4, 0.1])
def test_tables_hold_every_pair_of_edges_once(name, cutoff):
    graph = graph_of(STRUCTURES[name](), 3.2)
    near = neighbor_tables(graph, cutoff=cutoff)
    found = Counter()
    for table in near.tables:
        for atom in range(len(table.row)):
            edges = near.edge[table.row[atom]]
            assert len(set(graph.target[edges[table.used[atom]]].tolist())) == 1
            a, b = torch.nonzero(table.pairs[atom]).T
            found.update(zip(edges[a].tolist(), edges[b].tolist()))
    into = graph.target.tolist()
    short = torch.nonzero(graph.edge_len < cutoff).flatten().tolist()
    assert found == Counter((a, b) for a in short for b in short if a != b and into[a] == into[b])
    rows = torch.cat([t.row.flatten() for t in near.tables]) if near.tables else torch.zeros(0, dtype=torch.long)
    assert torch.equal(rows[near.slot], torch.arange(len(near.edge)))


@every_structure
@pytest.mark.parametrize(("cutoff", "axis"), [(2.2, 2.9), (2.9, 1.8), (2.6, 2.6)])
def test_torsion_tables_stand_for_the_quadruplets(name, cutoff, axis):
    """Pairs at both ends of each axis, less the closed triangles, are the quadruplets."""
    graph = graph_of(STRUCTURES[name](), 2.9)
    tables = torsion_tables(graph, cutoff=cutoff, cutoff_interaction=axis)
    at_near_end, at_far_end, closed = [], {}, set()
    numbered = []
    for ends, axes, table in zip(tables.ends.tables, tables.axes.tables, tables.tables):
        end, ax = tables.ends.edge[ends.row], tables.axes.edge[axes.row]
        for atom, k, m in torch.nonzero(torch.ones_like(table.pairs)).tolist():
            pair = (int(end[atom, k]), int(ax[atom, m]))
            if table.pairs[atom, k, m]:
                at_near_end.append(pair)
                at_far_end.setdefault(pair[1], []).append(pair[0])
        for atom in range(len(end)):
            numbered += [(int(e), int(a)) for a in ax[atom] for e in end[atom]]
    for ends, axes, table in zip(tables.ends.tables, tables.axes.tables, tables.tables):
        end, ax = tables.ends.edge[ends.row], tables.axes.edge[axes.row]
        for atom, k, m in torch.nonzero(table.closed).tolist():
            d, opposite = numbered[table.closing[atom, k, m]]
            assert opposite == int(reverse_edges(graph)[ax[atom, m]])
            closed.add((int(end[atom, k]), int(ax[atom, m]), d))
    reverse = reverse_edges(graph).tolist()
    found = {(ca, ba, db) for ca, ba in at_near_end for db in at_far_end.get(reverse[ba], [])}
    assert closed <= found
    assert found - closed == looped_quadruplets(graph, cutoff, axis)


def test_large_structures_find_their_triangles_without_a_table_of_all_pairs():
    """A long chain has too many pairs of atoms for a table, and takes the way of crystals."""
    n = 700
    zigzag = Atoms(f"H{n}", positions=np.stack([np.arange(n), np.arange(n) % 2, np.zeros(n)], 1) * 0.9)
    graph = graph_of(zigzag, 1.9)
    tables = torsion_tables(graph, cutoff=1.9, cutoff_interaction=1.9)
    closed = sum(int(t.closed.sum()) for t in tables.tables)
    pairs = sum(int(t.pairs.sum()) for t in tables.tables)
    q = quadruplets(graph, cutoff=1.9, cutoff_interaction=1.9)
    over_axes = torch.zeros(graph.num_edges, dtype=torch.long)
    for ends, axes, t in zip(tables.ends.tables, tables.axes.tables, tables.tables):
        over_axes.index_add_(0, tables.axes.edge[axes.row].flatten(), t.pairs.sum(1).flatten())
        assert ends.row.shape[0] == axes.row.shape[0]
    assert pairs > closed > 0
    assert int((over_axes * over_axes[reverse_edges(graph)]).sum()) - closed == len(q.edge_ca)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
@settings(max_examples=40, deadline=None)
def test_padding_stays_bounded(sizes):
    """Cliques of any mixture of sizes: tables together are never much larger than the pairs they hold."""
    n = torch.tensor(sizes)
    graph = Graph.from_tensors(torch.ones(int(n.sum()), dtype=torch.long), torch.zeros(int(n.sum()), 3), n_atoms=n)
    i = torch.arange(graph.num_nodes)
    target, source = torch.nonzero((graph.batch[:, None] == graph.batch) & (i[:, None] != i)).T
    graph = graph.replace(edge_index=torch.stack([source, target]), edge_len=torch.ones(len(source)))
    near = neighbor_tables(graph)
    held = sum(s * (s - 1) ** 2 for s in sizes)
    padded = sum(t.row.shape[0] * t.row.shape[1] ** 2 for t in near.tables)
    assert held <= padded <= 2 * held + 20_000 * len(near.tables)


def test_nothing_at_all():
    for graph in (graph_of(Atoms("He"), 5.0), graph_of(Atoms("H2", positions=[[0, 0, 0], [0, 0, 1.0]]), 0.5)):
        assert triplets(graph).edge_kj.shape == (0,)
        assert quadruplets(graph, cutoff=2.0, cutoff_interaction=3.0).edge_ca.shape == (0,)
        assert neighbor_tables(graph).tables == ()
        assert torsion_tables(graph, cutoff=2.0, cutoff_interaction=3.0).tables == ()


def test_indices_are_made_once_per_graph():
    graph = graph_of(ase.build.molecule("H2O"), 3.0)
    assert triplets(graph, cutoff=2.0) is triplets(graph, cutoff=2.0)
    assert triplets(graph, cutoff=2.0) is not triplets(graph, cutoff=1.0)
    stretched = graph.replace(edge_vec=graph.edge_vec * 9, edge_len=graph.edge_len * 9)
    assert triplets(stretched, cutoff=2.0).edge_kj.shape == (0,)
