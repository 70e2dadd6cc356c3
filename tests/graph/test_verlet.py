"""The Verlet list: the edges of a fresh search in every step, and nothing stale among what is kept between steps."""

from __future__ import annotations

import copy

import torch

from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges, reverse_edges
from zoo.graph.verlet import VerletList
from zoo.nn import pairs

CUTOFF = 3.0


def moving(steps: int = 12) -> list[Graph]:
    """Atoms that drift through each other's cut-off, some steps without a crossing."""
    generator = torch.Generator().manual_seed(0)
    pos = 4.0 * torch.rand(8, 3, generator=generator, dtype=torch.float64)
    velocity = 0.04 * torch.randn(8, 3, generator=generator, dtype=torch.float64)
    return [Graph.from_tensors(torch.full((8,), 6), pos + k * velocity) for k in range(steps)]


def test_kept_indices_are_those_of_the_edges_of_this_step():
    verlet, reused = VerletList(CUTOFF, skin=1.0), 0
    before = None
    for graph in moving():
        listed, fresh = verlet.edges(graph), add_edges(graph, CUTOFF)
        assert torch.equal(listed.edge_index, fresh.edge_index) and torch.equal(listed.pos, graph.pos)
        assert torch.equal(reverse_edges(listed), reverse_edges(fresh))
        assert torch.equal(pairs(listed).edges, pairs(fresh).edges)
        reused += before is not None and pairs(listed) is before
        before = pairs(listed)
    assert 0 < reused < 11 and verlet.searches < 11


def test_the_same_list_serves_other_elements_and_a_copy_of_its_own():
    first, second = moving(2)
    verlet = VerletList(CUTOFF, skin=1.0)
    verlet.edges(first.replace(pos=first.pos.clone().requires_grad_() * 1.0))  # positions with a history
    twin = copy.deepcopy(verlet)
    changed = second.replace(z=torch.full((8,), 8))
    assert torch.equal(verlet.edges(changed).z, changed.z)
    assert torch.equal(twin.edges(second).edge_index, add_edges(second, CUTOFF).edge_index)


def test_other_edges_get_indices_of_their_own():
    graph = add_edges(moving(1)[0], CUTOFF)
    known = pairs(graph)
    assert pairs(graph.replace(pos=graph.pos + 1.0)) is known
    fewer = graph.replace(edge_index=graph.edge_index[:, :0])
    assert pairs(fewer).edges.shape[0] == 0
