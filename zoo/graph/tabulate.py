"""Makes the dense tables of :mod:`zoo.graph.tables`: atoms of similar degree share a table, so little is padded."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.graph.graph import Graph
from zoo.graph.neighbors import edges_within, reverse_edges
from zoo.graph.tables import NeighborTable, NeighborTables, TorsionTable, TorsionTables
from zoo.graph.tabulate_recorded import recorded_neighbor_tables, recorded_torsion_tables
from zoo.graph.tracing import is_recorded

__all__ = ["neighbor_tables", "torsion_tables"]

_PAIRS_WORTH_A_TABLE = 20_000


def neighbor_tables(graph: Graph, *, cutoff: float | None = None) -> NeighborTables:
    """Tables of each atom's incoming edges shorter than ``cutoff`` (all edges when it is ``None``); once per graph."""
    key = ("neighbor tables", cutoff)
    return graph.memoize(key, lambda: _neighbor_tables(graph, cutoff), edges_only=cutoff is None)


def _neighbor_tables(graph: Graph, cutoff: float | None) -> NeighborTables:
    if is_recorded():
        return recorded_neighbor_tables(graph, cutoff)
    edge = edges_within(graph, cutoff)
    degree = _degree(graph, edge)
    return _tabulate(edge, degree, _similar_degrees(degree))


def torsion_tables(graph: Graph, *, cutoff: float, cutoff_interaction: float) -> TorsionTables:
    """Ends shorter than ``cutoff`` and axes shorter than ``cutoff_interaction``, atom by atom; once per graph."""
    key = ("torsion tables", cutoff, cutoff_interaction)
    return graph.memoize(key, lambda: _torsion_tables(graph, cutoff, cutoff_interaction))


def _torsion_tables(graph: Graph, cutoff: float, cutoff_interaction: float) -> TorsionTables:
    if is_recorded():
        return recorded_torsion_tables(graph, cutoff, cutoff_interaction)
    end, axis = edges_within(graph, cutoff), edges_within(graph, cutoff_interaction)
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
        closing = start[b] + axis_column[reverse_edges(graph)[ba]] * width[b] + end_column[cb.clamp(min=0)]
        tables.append(TorsionTable(pairs=pairs, closing=torch.where(closed, closing, 0), closed=closed))
    slot = torch.empty_like(graph.source)
    slot[axis] = axes.slot
    return TorsionTables(ends=ends, axes=axes, tables=tuple(tables), opposite=slot[reverse_edges(graph)[axis]])


def _tabulate(edge: Tensor, degree: Tensor, groups: list[Tensor]) -> NeighborTables:
    first = degree.cumsum(0) - degree
    slot = torch.zeros_like(edge)
    tables, offset = [], 0
    for atoms in groups:
        counts = degree[atoms]
        column = torch.arange(int(counts.max()), device=edge.device)
        used = column < counts[:, None]
        # An atom without edges starts beyond the last one: any row will do where nothing is used.
        row = (first[atoms][:, None] + column * used).clamp(max=max(len(edge) - 1, 0))
        tables.append(NeighborTable(row=row, used=used))
        slot[row[used]] = offset + torch.nonzero(used.flatten()).flatten()
        offset += used.numel()
    return NeighborTables(tables=tuple(tables), edge=edge, slot=slot)


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

    A table is as wide as its largest degree, so a group ends when its pairs of padding cost more than one more table
    would: a fixed number of operations on it.
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
