"""The neighbour sums against the same sums written out with (E, …) temporaries."""

from __future__ import annotations

import ase.build
import pytest
import torch
from geometry import graph_of, random

from zoo.graph import Graph
from zoo.neighbors import add_edges
from zoo.nn import gather, pairs, sum_by

C = 3


def molecule():
    return graph_of(random(7, 3, seed=5), 2.0)


def directed():
    graph = molecule()
    return graph.with_edges(graph.edge_index[:, 1:])


def crystal():
    """One atom whose neighbours are all images of itself: source and target agree, shifts tell edges apart."""
    return add_edges(Graph.from_atoms(ase.build.bulk("Cu"), dtype=torch.float64), 4.0)


def lonely():
    return graph_of(random(3, 3, seed=5) * 100, 2.0)


GRAPHS = pytest.mark.parametrize("make", [molecule, directed, crystal, lonely], ids=lambda f: f.__name__)


@GRAPHS
def test_pairs_hold_every_edge_once_with_its_reverse_half_a_list_away(make):
    graph = make()
    p = pairs(graph)
    P = p.first.shape[0]
    assert P * p.share == graph.num_edges
    assert p.share == (1 if make is directed else 2)
    listed = sorted(zip(p.source.tolist(), p.target.tolist()))
    assert listed == sorted(zip(*graph.edge_index.tolist()))
    assert torch.equal(p.source[:P], graph.source[p.first]) and torch.equal(p.target[:P], graph.target[p.first])
    if p.share == 2:
        assert torch.equal(p.source[:P], p.target[P:]) and torch.equal(p.target[:P], p.source[P:])
    for atom in range(graph.num_nodes):
        incoming = p.incoming[p.incoming_ptr[atom] : p.incoming_ptr[atom + 1]]
        outgoing = p.outgoing[p.outgoing_ptr[atom] : p.outgoing_ptr[atom + 1]]
        assert set(incoming.tolist()) == set(torch.nonzero(p.target == atom)[:, 0].tolist())
        assert set(outgoing.tolist()) == set(torch.nonzero(p.source == atom)[:, 0].tolist())


def plain(p, N):
    """The three forms, with every edge-sized product written out."""

    def filtered(W, h):
        rows = gather(h, p.source)
        W = torch.cat([W] * p.share)
        return rows * (W if h.dim() == 2 else W[:, None])

    return {
        "filtered": filtered,
        "filtered_sum": lambda W, h: sum_by(filtered(W, h), p.target, N),
        "directed_sum": lambda x, m: sum_by(x[:, :, None] * m[:, None], p.target, N),
    }


@GRAPHS
@pytest.mark.parametrize("form", ["filtered", "filtered_sum", "filtered_sum of vectors", "directed_sum"])
def test_sums_over_neighbours_equal_the_plain_ones_to_second_order(make, form):
    graph = make()
    p, N = pairs(graph), graph.num_nodes
    E, P = graph.num_edges, p.first.shape[0]
    name = form.split()[0]
    a, b = (random(E, 3, seed=1), random(E, C, seed=2)) if name == "directed_sum" else (
        random(P, C, seed=1), random(N, 3, C, seed=2) if "vectors" in form else random(N, C, seed=2))
    a.requires_grad_(), b.requires_grad_()
    fast, slow = getattr(p, name), plain(p, N)[name]
    torch.testing.assert_close(fast(a, b), slow(a, b))
    if not E:
        (gradient,) = torch.autograd.grad(fast(a, b).sum(), b)
        assert not gradient.any()
        return
    if make is not crystal:  # finite differences of 60 edges take a while, and one atom shows nothing new
        assert torch.autograd.gradcheck(fast, (a, b))
        assert torch.autograd.gradgradcheck(fast, (a, b))


@GRAPHS
def test_both_ways_gives_each_edge_its_own_vector(make):
    graph = make()
    p = pairs(graph)
    vec = graph.edge_vec if graph.edge_vec is not None else random(graph.num_edges, 3)
    if graph.edge_vec is None:
        vec = vec - vec[graph.reverse_edge]
    if make is directed:
        vec = graph.pos[graph.source] - graph.pos[graph.target]
    both = p.both_ways(vec[p.first])
    where = p.incoming if p.share == 2 else torch.arange(graph.num_edges)
    torch.testing.assert_close(both[where], vec)

