"""The neighbour sums against the same sums written out with (E, …) temporaries."""

from __future__ import annotations

import ase.build
import pytest
import torch
from geometry import graph_of, random

from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges, reverse_edges
from zoo.nn import Filtered, FilteredSum, OuterSum, gather, pairs, sum_by
from zoo.nn.fused import neighbor_sums

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
def test_blocks_of_a_fan_list_every_edge_once_at_its_atom(make, size):
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


def plain(p, graph):
    """The three forms, with every edge-sized product written out."""

    def filtered(W, h):
        rows, W = gather(h, graph.source), W[p.incoming.pair]
        return rows * (W if h.dim() == 2 else W[:, None])

    N = graph.num_nodes
    return {
        Filtered: filtered,
        FilteredSum: lambda W, h: sum_by(filtered(W, h), graph.target, N),
        OuterSum: lambda x, m: sum_by(x[:, :, None] * m[:, None], graph.target, N),
    }


@GRAPHS
@pytest.mark.parametrize("block", [1, 100, 10**6], ids=lambda b: f"blocks of {b} bytes")
@pytest.mark.parametrize(("form", "kind"), [(Filtered, "scalars"), (FilteredSum, "scalars"), (FilteredSum, "vectors"),
                                            (OuterSum, "scalars")])
def test_sums_over_neighbours_equal_the_plain_ones_to_second_order(make, form, kind, block, monkeypatch):
    monkeypatch.setattr(neighbor_sums, "_BLOCK_BYTES", block)
    graph = make()
    p, N, E = pairs(graph), graph.num_nodes, graph.num_edges
    a = random(E, 3, seed=1) if form is OuterSum else random(p.edges.shape[0], C, seed=1)
    b = random(E if form is OuterSum else N, C, seed=2) if kind == "scalars" else random(N, 3, C, seed=2)
    a.requires_grad_(), b.requires_grad_()
    fast = OuterSum(graph.target, N, 3, is_sorted=True) if form is OuterSum else form(p)
    slow = plain(p, graph)[form]
    cotangent, second = torch.randn_like(slow(a, b)), (torch.randn_like(a), torch.randn_like(b))

    def everything(function):
        out = function(a, b)
        first = torch.autograd.grad(out, (a, b), cotangent, create_graph=True)
        both = sum((x * y).sum() for x, y in zip(first, second))
        return [out, *first, *torch.autograd.grad(both, (a, b), materialize_grads=True, allow_unused=True)]

    if E or form is not Filtered:
        for x, y in zip(everything(fast), everything(slow)):
            torch.testing.assert_close(x, y)
    if E and block == 100 and make is not crystal:  # finite differences of 60 edges take a while
        assert torch.autograd.gradcheck(fast, (a, b))
        assert torch.autograd.gradgradcheck(fast, (a, b))
