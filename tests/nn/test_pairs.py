"""Edges as pairs, and their adjacency lists in blocks."""

from __future__ import annotations

import ase.build
import pytest
import torch
from geometry import graph_of, random

from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges, reverse_edges
from zoo.nn import pairs

C = 3


def molecule():
    return graph_of(random(7, 3, seed=5), 2.0)


def directed():
    graph = molecule()
    return graph.with_edges(graph.edge_index[:, 1:])


def repeated():
    """A caller's edges with a loop and with two of them listed twice."""
    graph = molecule()
    return graph.with_edges(torch.cat([graph.edge_index, graph.edge_index[:, :2], torch.tensor([[3], [3]])], 1))


def crystal():
    """One atom whose neighbours are all images of itself: source and target agree, shifts tell edges apart."""
    return add_edges(Graph.from_atoms(ase.build.bulk("Cu"), dtype=torch.float64), 4.0)


def lonely():
    return graph_of(random(3, 3, seed=5) * 100, 2.0)


GRAPHS = pytest.mark.parametrize("make", [molecule, directed, repeated, crystal, lonely], ids=lambda f: f.__name__)


@GRAPHS
def test_pairs_hold_every_edge_once_beside_its_reverse(make):
    graph = make()
    p = pairs(graph)
    assert sorted(p.edges.flatten().tolist()) == list(range(graph.num_edges))
    assert p.edges.shape[1] == (1 if make in (directed, repeated) else 2)
    assert torch.equal(p.source, graph.source[p.edges]) and torch.equal(p.target, graph.target[p.edges])
    if p.edges.shape[1] == 2:
        assert torch.equal(reverse_edges(graph)[p.edges], p.edges.flip(1))


@GRAPHS
@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_blocks_of_an_adjacency_list_list_every_edge_once_at_its_atom(make, size):
    graph = make()
    p = pairs(graph)
    for adjacency, near, far in ((p.incoming, graph.target, graph.source), (p.outgoing, graph.source, graph.target)):
        listed = []
        for block in adjacency.blocks(size):
            edges = torch.arange(graph.num_edges) if block.edge is None else block.edge
            edges = edges[block.edges] if block.edge is None else edges
            atoms = torch.arange(block.atoms.start, block.atoms.stop).repeat_interleave(block.ptr.diff())
            assert torch.equal(near[edges], atoms) and torch.equal(far[edges], block.far)
            assert all(int(e) in p.edges[k].tolist() for e, k in zip(edges, block.pair))
            listed += edges.tolist()
        assert sorted(listed) == list(range(graph.num_edges))
