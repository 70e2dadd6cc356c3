"""Batches are joined, taken apart, selected from and cut without losing a field."""

from __future__ import annotations

from dataclasses import fields

import ase.build
import pytest
import torch

from zoo.graph.batching import cut, join, select
from zoo.graph.graph import Graph


def batch() -> Graph:
    """Two crystals and an atom; charges, attributes of atoms and edges, edges that the caller gave."""
    frames = [ase.build.bulk("Si"), ase.build.bulk("NaCl", "rocksalt", a=5.6), ase.Atoms("H")]
    graph = Graph.from_atoms(frames, dtype=torch.float64)
    graph = graph.replace(charge=torch.tensor([0.0, 1.0, -1.0]), node_attrs=torch.arange(5.0)[:, None],
                          edge_attrs=torch.arange(3.0)[:, None])
    return graph.with_edges(torch.tensor([[3, 1, 0], [2, 0, 1]]), torch.tensor([[1, 0, 0], [0, 0, 0], [0, -1, 0]]))


def same(a: Graph, b: Graph) -> None:
    for field in fields(Graph):
        if not field.name.startswith("_"):
            x, y = getattr(a, field.name), getattr(b, field.name)
            assert (x is None) == (y is None), field.name
            assert x is None or torch.equal(x, y) if isinstance(x, torch.Tensor) or x is None else x == y, field.name


def test_a_batch_that_was_taken_apart_is_put_together_again():
    graph = batch()
    same(join(list(graph.structures())), graph)
    assert [part.num_edges for part in graph.structures()] == [2, 1, 0]


def test_a_selection_is_the_batch_of_the_structures_selected():
    graph = batch().replace(edge_index=None, edge_shift=None, edge_attrs=None)
    first, _, last = graph.structures()
    same(select(graph, torch.tensor([True, False, True])), join([first, last]))


@pytest.mark.parametrize(("sizes", "limit", "parts"), [
    ([], 5, []), ([3, 2, 1, 9, 1], 5, [[0, 1], [2], [3], [4]]), ([1, 1, 1], 99, [[0, 1, 2]]), ([0, 0], 0, [[0, 1]]),
])
def test_a_list_is_cut_where_the_limit_is_passed(sizes, limit, parts):
    assert [list(part) for part in cut(sizes, limit)] == parts
