"""Angles and torsions from edges: index lists (triplets, quadruplets) and dense per-atom neighbourhoods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from zoo.graph import Graph

__all__ = ["Neighbourhood", "Neighbourhoods", "Quadruplets", "Triplets", "neighbourhoods", "quadruplets", "triplets"]


@dataclass(frozen=True, eq=False)
class Triplets:
    """T pairs of edges k→j→i with k ≠ i as an image.

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


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Incoming edges of A atoms of similar degree as one table of K slots.

    Attributes:
        row: (A, K) int64, the edge in each slot, as a position in ``Neighbourhoods.edge``; an unused slot repeats
            some used one.
        used: (A, K) bool.
    """

    row: Tensor
    used: Tensor

    @property
    def pairs(self) -> Tensor:
        """(A, K, K) bool: both slots are used, and are two different edges."""
        different = ~torch.eye(self.row.shape[1], dtype=torch.bool, device=self.row.device)
        return self.used[:, :, None] & self.used[:, None, :] & different


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """The incoming edges of all atoms, cut into a few dense tables: sums over angles become batched matrix products.

    Two edges with the same target span an angle there, and all such pairs of an atom are a K × K block; so a sum over
    triplets needs no list of triplets and no gather of T rows.

    Attributes:
        tables: one per group of atoms with similar degree; empty when no edge takes part.
        edge: (E',) int64, the edges that take part, ascending.
        slot: (E',) int64, place of each of them in the concatenation of all tables, flattened.
    """

    tables: tuple[Neighbourhood, ...]
    edge: Tensor
    slot: Tensor


def neighbourhoods(graph: Graph, *, cutoff: float | None = None) -> Neighbourhoods:
    """Dense neighbourhoods from the edges shorter than ``cutoff`` (all edges when it is ``None``)."""
    edge = _short_edges(graph, cutoff)
    degree = torch.bincount(graph.target.index_select(0, edge), minlength=graph.num_nodes)
    first = degree.cumsum(0) - degree
    slot = torch.empty_like(edge)
    tables, offset = [], 0
    for atoms, width in _similar_degrees(degree):
        counts = degree.index_select(0, atoms)
        column = torch.arange(width, device=edge.device)
        used = column < counts[:, None]
        row = first.index_select(0, atoms)[:, None] + column * used
        tables.append(Neighbourhood(row=row, used=used))
        slot[row[used]] = offset + torch.nonzero(used.flatten()).flatten()
        offset += used.numel()
    return Neighbourhoods(tables=tuple(tables), edge=edge, slot=slot)


def _similar_degrees(degree: Tensor) -> list[tuple[Tensor, int]]:
    """Groups (atoms, largest degree): within one, padding at most doubles the number of pairs."""
    groups = []
    counts = torch.bincount(degree).tolist()
    high = len(counts) - 1
    while high > 0:
        low = int(high * 0.7)
        members = sum(counts[low + 1 : high + 1])
        if members:
            high = max(d for d in range(low + 1, high + 1) if counts[d])
            low = int(high * 0.7)
            atoms = torch.nonzero((degree > low) & (degree <= high)).flatten()
            groups.append((atoms, high))
        high = low
    return groups


def _short_edges(graph: Graph, cutoff: float | None) -> Tensor:
    if cutoff is None:
        return torch.arange(graph.num_edges, device=graph.device)
    return torch.nonzero(graph.edge_len < cutoff).flatten()


def triplets(graph: Graph, *, cutoff: float | None = None) -> Triplets:
    """All k→j→i with k ≠ i as an image, from the edges shorter than ``cutoff`` (all edges when it is ``None``).

    The same atom in another periodic image is a different neighbour: k = i is left out only where k→j is the reverse
    of j→i. Pure index arithmetic on edges sorted by target; no loop over atoms.
    """
    edge = _short_edges(graph, cutoff)
    ji, kj = _expand(edge, graph.source, graph.target, edge, graph.num_nodes)
    keep = kj != graph.reverse_edge.index_select(0, ji)
    return Triplets(edge_kj=kj[keep], edge_ji=ji[keep])


def quadruplets(graph: Graph, *, cutoff: float, cutoff_interaction: float) -> Quadruplets:
    """All c→a–b←d: c→a and d→b shorter than ``cutoff``, b→a shorter than ``cutoff_interaction``.

    Left out are c = b, d = a and c = d, each as an image (Gasteiger et al. 2021, arXiv:2106.08903, eq. 7).
    """
    ends, axes = _short_edges(graph, cutoff), _short_edges(graph, cutoff_interaction)
    source, target, reverse = graph.source, graph.target, graph.reverse_edge
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
