"""Angles and torsions as index lists: every triplet k→j→i and every quadruplet c→a–b←d of a graph's edges."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.graph.graph import Graph
from zoo.graph.neighbors import edges_within, reverse_edges

__all__ = ["Quadruplets", "Triplets", "quadruplets", "triplets"]


@dataclass(frozen=True, eq=False)
class Triplets:
    """T pairs of edges k→j→i, where k and i are different periodic images or atoms.

    Attributes:
        edge_kj, edge_ji: (T,) int64, the two edges; sorted by ``edge_ji``.
    """

    edge_kj: Tensor
    edge_ji: Tensor


@dataclass(frozen=True, eq=False)
class Quadruplets:
    """Q torsions c→a–b←d over the axis b→a, the four atoms being different images.

    Attributes:
        edge_ca, edge_ba, edge_db: (Q,) int64, the three edges; sorted by ``edge_ca``.
    """

    edge_ca: Tensor
    edge_ba: Tensor
    edge_db: Tensor


def triplets(graph: Graph, *, cutoff: float | None = None) -> Triplets:
    """All k→j→i with k ≠ i as an image, from the edges shorter than ``cutoff`` (all edges when it is ``None``).

    The same atom in another periodic image is a different neighbour: k = i is left out only where k→j is the reverse
    of j→i. Pure index arithmetic on edges sorted by target; no loop over atoms. Computed once per graph.
    """
    return graph.memoize(("triplets", cutoff), lambda: _triplets(graph, cutoff))


def _triplets(graph: Graph, cutoff: float | None) -> Triplets:
    edge = edges_within(graph, cutoff)
    ji, kj = _expand(edge, graph.source, graph.target, edge, graph.num_nodes)
    keep = kj != reverse_edges(graph).index_select(0, ji)
    return Triplets(edge_kj=kj[keep], edge_ji=ji[keep])


def quadruplets(graph: Graph, *, cutoff: float, cutoff_interaction: float) -> Quadruplets:
    """All c→a–b←d: c→a and d→b shorter than ``cutoff``, b→a shorter than ``cutoff_interaction``.

    Left out are c = b, d = a and c = d, each as an image (Gasteiger et al. 2021, arXiv:2106.08903, eq. 7).
    Computed once per graph.
    """
    key = ("quadruplets", cutoff, cutoff_interaction)
    return graph.memoize(key, lambda: _quadruplets(graph, cutoff, cutoff_interaction))


def _quadruplets(graph: Graph, cutoff: float, cutoff_interaction: float) -> Quadruplets:
    ends, axes = edges_within(graph, cutoff), edges_within(graph, cutoff_interaction)
    source, target, reverse = graph.source, graph.target, reverse_edges(graph)
    ca, ba = _expand(ends, target, target, axes, graph.num_nodes)
    keep = ca != ba
    ca, ba = ca[keep], ba[keep]
    # Expand each (c→a, b→a) by the edges d→b, with the position in that list as the value carried along.
    pair, db = _expand(torch.arange(ba.shape[0], device=ba.device), source[ba], target, ends, graph.num_nodes)
    ca, ba = ca[pair], ba[pair]
    keep = db != reverse[ba]
    if graph.edge_shift is None:
        keep &= source[db] != source[ca]
    else:
        # Image of c and of d relative to the image of a that both edges end in.
        same = (graph.edge_shift[db] + graph.edge_shift[ba] - graph.edge_shift[ca]).abs().amax(dim=1) < 0.5
        keep &= ~(same & (source[db] == source[ca]))
    return Quadruplets(edge_ca=ca[keep], edge_ba=ba[keep], edge_db=db[keep])


def _expand(left: Tensor, meet: Tensor, target: Tensor, right: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Pairs (l, r) of ``left`` × ``right`` (edges, ascending) with meet[l] == target[r]; sorted by l."""
    target_right = target.index_select(0, right)
    degree = torch.bincount(target_right, minlength=num_nodes)
    first = degree.cumsum(0) - degree
    atom = meet.index_select(0, left)
    counts = degree.index_select(0, atom)
    total = int(counts.sum())
    row = torch.repeat_interleave(torch.arange(left.shape[0], device=left.device), counts, output_size=total)
    start = counts.cumsum(0) - counts
    within = torch.arange(total, device=left.device) - start.index_select(0, row)
    position = first.index_select(0, atom.index_select(0, row)) + within
    return left.index_select(0, row), right.index_select(0, position)
