"""Angles and torsions from edges: index lists (triplets, quadruplets) and dense per-atom neighbourhoods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.graph.tracing import is_recorded

if TYPE_CHECKING:
    from zoo.graph.graph import Graph

__all__ = [
    "Junction",
    "Junctions",
    "Neighbourhood",
    "Neighbourhoods",
    "Quadruplets",
    "Triplets",
    "junctions",
    "neighbourhoods",
    "quadruplets",
    "triplets",
]

_PAIRS_WORTH_A_TABLE = 20_000


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


@dataclass(frozen=True, eq=False)
class Junction:
    """A atoms of one table with their ends (K slots) and axes (M slots).

    Attributes:
        pairs: (A, K, M) bool: both slots are used and hold different edges.
        closing: (A, K, M) int64, for an end c→a and an axis b→a: place of the pair (axis a→b, end c→b) in the
            concatenation of all tables seen as (A, M, K), flattened; 0 where there is none.
        closed: (A, K, M) bool: there is one, so that c, a and b form a triangle.
    """

    pairs: Tensor
    closing: Tensor
    closed: Tensor


@dataclass(frozen=True, eq=False)
class Junctions:
    """Where torsions c→a–b←d are put together: the ends c→a and the axes b→a that meet in each atom.

    At the other end of the axis, b, the same tables hold its reverse a→b and the ends d→b. So two sums over pairs of
    edges, at b and at a, make a sum over quadruplets. Only d = c has to be taken out again: ``closing`` finds it.

    Attributes:
        ends, axes: tables of the same atoms; some may have no slot.
        tables: one per table of atoms.
        opposite: (number of axes,) slot of the reverse of each axis, in the tables of axes.
    """

    ends: Neighbourhoods
    axes: Neighbourhoods
    tables: tuple[Junction, ...]
    opposite: Tensor


def neighbourhoods(graph: Graph, *, cutoff: float | None = None) -> Neighbourhoods:
    """Dense neighbourhoods from the edges shorter than ``cutoff`` (all edges when it is ``None``)."""
    if is_recorded():
        from zoo.graph.angular_recorded import one_table

        return one_table(graph, cutoff)
    edge = _short_edges(graph, cutoff)
    degree = _degree(graph, edge)
    return _tabulate(edge, degree, _similar_degrees(degree))


def junctions(graph: Graph, *, cutoff: float, cutoff_interaction: float) -> Junctions:
    """Ends shorter than ``cutoff`` and axes shorter than ``cutoff_interaction``, atom by atom."""
    if is_recorded():
        from zoo.graph.angular_recorded import one_junction

        return one_junction(graph, cutoff, cutoff_interaction)
    end, axis = _short_edges(graph, cutoff), _short_edges(graph, cutoff_interaction)
    end_degree, axis_degree = _degree(graph, end), _degree(graph, axis)
    groups = _similar_degrees(torch.maximum(end_degree, axis_degree))
    ends, axes = _tabulate(end, end_degree, groups), _tabulate(axis, axis_degree, groups)
    # Where each atom's pairs start, and each edge's column in its atom's table.
    start, width = torch.zeros_like(end_degree), torch.zeros_like(end_degree)
    offset = 0
    for atoms, e, a in zip(groups, ends.tables, axes.tables, strict=True):
        size = e.row.shape[1] * a.row.shape[1]
        start[atoms] = offset + size * torch.arange(len(atoms), device=atoms.device)
        width[atoms] = e.row.shape[1]
        offset += size * len(atoms)
    end_column, axis_column = _columns(graph, end, end_degree), _columns(graph, axis, axis_degree)
    find = _EdgeFinder(graph, end)
    tables = []
    for e, a in zip(ends.tables, axes.tables, strict=True):
        ca, ba = end[e.row][:, :, None], axis[a.row][:, None, :]
        pairs = e.used[:, :, None] & a.used[:, None, :] & (ca != ba)
        shape = pairs.shape
        cb = find(ca.expand(shape), ba.expand(shape))
        closed = pairs & (cb >= 0)
        b = graph.source[ba]
        closing = start[b] + axis_column[graph.reverse_edge[ba]] * width[b] + end_column[cb.clamp(min=0)]
        tables.append(Junction(pairs=pairs, closing=torch.where(closed, closing, 0), closed=closed))
    slot = torch.empty_like(graph.source)
    slot[axis] = axes.slot
    return Junctions(ends=ends, axes=axes, tables=tuple(tables), opposite=slot[graph.reverse_edge[axis]])


def _tabulate(edge: Tensor, degree: Tensor, groups: list[Tensor]) -> Neighbourhoods:
    first = degree.cumsum(0) - degree
    slot = torch.zeros_like(edge)
    tables, offset = [], 0
    for atoms in groups:
        counts = degree[atoms]
        column = torch.arange(int(counts.max()), device=edge.device)
        used = column < counts[:, None]
        # An atom without edges starts beyond the last one: any row will do where nothing is used.
        row = (first[atoms][:, None] + column * used).clamp(max=max(len(edge) - 1, 0))
        tables.append(Neighbourhood(row=row, used=used))
        slot[row[used]] = offset + torch.nonzero(used.flatten()).flatten()
        offset += used.numel()
    return Neighbourhoods(tables=tuple(tables), edge=edge, slot=slot)


def _degree(graph: Graph, edge: Tensor) -> Tensor:
    return torch.bincount(graph.target[edge], minlength=graph.num_nodes)


def _columns(graph: Graph, edge: Tensor, degree: Tensor) -> Tensor:
    """(E,) position of each of the edges among those with its target; 0 for the others."""
    first = degree.cumsum(0) - degree
    column = torch.zeros_like(graph.source)
    column[edge] = torch.arange(len(edge), device=edge.device) - first[graph.target[edge]]
    return column


class _EdgeFinder:
    """Finds, for edges c→a and b→a, the edge c→b between the same images, among ``edge``; −1 if there is none."""

    def __init__(self, graph: Graph, edge: Tensor) -> None:
        self.graph = graph
        n = graph.ptr.diff()
        # Molecules: a table of all pairs of each. Crystals and large structures: search in a sorted list.
        self.direct = graph.edge_shift is None and int((n * n).sum()) <= 32 * graph.num_edges + 100_000
        if self.direct:
            self.width = n[graph.batch]
            self.start = ((n * n).cumsum(0) - n * n)[graph.batch]
            self.local = torch.arange(graph.num_nodes, device=n.device) - graph.ptr[graph.batch]
            self.table = torch.full((int((n * n).sum()),), -1, device=n.device)
            self.table[self._pair(graph.source[edge], graph.target[edge])] = edge
            return
        self.shift = None if graph.edge_shift is None else graph.edge_shift.round().long()
        reach = 0 if self.shift is None or not len(self.shift) else 2 * int(self.shift.abs().max())
        self.span = 2 * reach + 1
        keys = self._key(graph.source[edge], graph.target[edge], None if self.shift is None else self.shift[edge])
        self.keys, order = keys.sort()
        self.edge = edge[order]

    def _pair(self, source: Tensor, target: Tensor) -> Tensor:
        return self.start[target] + self.local[target] * self.width[target] + self.local[source]

    def _key(self, source: Tensor, target: Tensor, shift: Tensor | None) -> Tensor:
        key = target * self.graph.num_nodes + source
        if shift is None:
            return key
        weights = torch.tensor([self.span**2, self.span, 1], device=shift.device)
        return key * self.span**3 + ((shift + self.span // 2) * weights).sum(-1)

    def __call__(self, ca: Tensor, ba: Tensor) -> Tensor:
        c, b = self.graph.source[ca], self.graph.source[ba]
        if self.direct:
            return self.table[self._pair(c, b)]
        if not len(self.keys):
            return torch.full_like(ca, -1)
        keys = self._key(c, b, None if self.shift is None else self.shift[ca] - self.shift[ba])
        place = torch.searchsorted(self.keys, keys).clamp(max=len(self.keys) - 1)
        return torch.where(self.keys[place] == keys, self.edge[place], -1)


def _similar_degrees(degree: Tensor) -> list[Tensor]:
    """Groups of atoms with at least one edge, the most crowded first.

    A table is as wide as its largest degree, so a group is closed when the pairs of padding outweigh the price of one
    more table: a fixed number of operations on it.
    """
    high, pairs, waste = 0, 0, 0
    ranges: list[tuple[int, int]] = []
    counts = torch.bincount(degree).tolist()
    for d in range(len(counts) - 1, 0, -1):
        if not counts[d]:
            continue
        waste += counts[d] * (high**2 - d**2)
        pairs += counts[d] * d**2
        if not ranges or waste > _PAIRS_WORTH_A_TABLE + 0.25 * pairs:
            high, pairs, waste = d, counts[d] * d**2, 0
            ranges.append((d, d))
        ranges[-1] = (d, ranges[-1][1])
    return [torch.nonzero((degree >= low) & (degree <= top)).flatten() for low, top in ranges]


def _short_edges(graph: Graph, cutoff: float | None) -> Tensor:
    if cutoff is None:
        return torch.arange(graph.num_edges, device=graph.device)
    assert graph.edge_len is not None
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
