"""Descriptors of a given body order by brute force, and whether two structures are congruent.

The descriptors are complete up to their body order: if two structures have the same multisets, no function of
environments of that order distinguishes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, permutations

import torch
from torch import Tensor

from zoo.graph.graph import Graph

__all__ = ["body_orders", "bond_angles", "congruent", "degenerate_up_to"]

_DIGITS = 7

Key = tuple[float, ...]


def body_orders(graph: Graph, order: int) -> Counter[tuple[Key, ...]]:
    """Multiset over atoms of the multiset of their clusters: the atom with ``order`` − 1 of its bonded neighbours.

    Elements and scalar products of bonds describe a cluster up to rotations and reflections; the lexicographically
    smallest list over all orders of the neighbours is used. One structure, open boundaries.
    """
    found: Counter[tuple[Key, ...]] = Counter()
    for centre in range(graph.num_nodes):
        neighbors = graph.source[graph.target == centre].tolist()
        clusters = combinations(neighbors, min(order - 1, len(neighbors)))
        found[tuple(sorted(_cluster(graph, centre, chosen) for chosen in clusters))] += 1
    return found


def bond_angles(graph: Graph) -> Counter[tuple[Key, ...]]:
    """Multiset over directed bonds of the multiset of (length, scalar product) with the others at the same atom.

    These are the inputs of an angular message as in DimeNet.
    """
    found: Counter[tuple[Key, ...]] = Counter()
    for first, second in zip(graph.source.tolist(), graph.target.tolist()):
        others = [k for k in graph.source[graph.target == second].tolist() if k != first]
        found[tuple(sorted(_cluster(graph, second, (first, k), keep_order=True) for k in others))] += 1
    return found


def degenerate_up_to(a: Graph, b: Graph, highest: int = 8) -> int:
    """The highest body order whose descriptors agree, counting from 2; ``highest`` if all do, 1 if none."""
    for order in range(2, highest + 1):
        if body_orders(a, order) != body_orders(b, order):
            return order - 1
    return highest


def congruent(a: Graph, b: Graph, *, reflections: bool = True, atol: float = 1e-6) -> bool:
    """Whether a rotation, reflection or translation maps one structure onto the other, up to order of equal atoms."""
    return any(reflections or _proper(a.pos, b.pos[order]) for order in _isometries(a, b, atol))


def _cluster(graph: Graph, centre: int, chosen: tuple[int, ...], *, keep_order: bool = False) -> Key:
    bonds = graph.pos[list(chosen)] - graph.pos[centre]
    gram = (bonds @ bonds.T).tolist()
    z = graph.z.tolist()
    rows = range(len(chosen))
    orders = [tuple(rows)] if keep_order else permutations(rows)
    listings = (
        (float(z[centre]), *(float(z[chosen[k]]) for k in order),
         *(round(gram[k][m], _DIGITS) + 0.0 for i, k in enumerate(order) for m in order[i:]))
        for order in orders
    )
    return min(listings)


def _isometries(a: Graph, b: Graph, atol: float) -> Iterator[list[int]]:
    """Orders of the atoms of b in which elements and all distances agree with those of a."""
    if a.num_nodes != b.num_nodes:
        return
    of_a, of_b = torch.cdist(a.pos, a.pos).tolist(), torch.cdist(b.pos, b.pos).tolist()
    z_a, z_b = a.z.tolist(), b.z.tolist()

    def extend(order: list[int]) -> Iterator[list[int]]:
        k = len(order)
        if k == len(z_a):
            yield order
            return
        for m in range(len(z_b)):
            if m in order or z_a[k] != z_b[m]:
                continue
            if all(abs(of_a[k][i] - of_b[m][j]) < atol for i, j in enumerate(order)):
                yield from extend([*order, m])

    yield from extend([])


def _proper(a: Tensor, b: Tensor) -> bool:
    """Whether a rotation without reflection maps two congruent point sets in the same order onto each other."""
    covariance = (a - a.mean(0)).T @ (b - b.mean(0))
    u, s, v = torch.linalg.svd(covariance)
    # Planar sets have a vanishing singular value, and a reflection through their plane has no effect.
    return bool(s[2] < 1e-6 * s[0]) or bool(torch.linalg.det(u @ v) > 0)
