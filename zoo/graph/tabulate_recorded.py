"""Tables of angles and torsions for recorded graphs: only their two widths, the largest degrees, depend on the data.

Edges beyond a cut-off cannot be left out, since their number depends on the data. They stay in the lists and share the
last slot of their atom's table, which is marked unused: their messages are zero because the envelope is zero there.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from zoo.graph.graph import Graph
from zoo.graph.neighbors import reverse_edges
from zoo.graph.tables import NeighborTable, NeighborTables, TorsionTable, TorsionTables

__all__ = ["recorded_neighbor_tables", "recorded_torsion_tables"]

_SPAN = 202
"""Differences of shifts between −101 and 100 are distinguished."""


def recorded_neighbor_tables(graph: Graph, cutoff: float | None) -> NeighborTables:
    """NeighborTables as one table for all atoms; its width is a size that a recorded graph finds when it runs."""
    return _tabulate(graph, cutoff)[0]


def recorded_torsion_tables(graph: Graph, cutoff: float, cutoff_interaction: float) -> TorsionTables:
    """TorsionTables as one table for all atoms."""
    ends, end_column, near = _tabulate(graph, cutoff)
    axes, axis_column, _ = _tabulate(graph, cutoff_interaction)
    (e,), (a,) = ends.tables, axes.tables
    assert graph.edge_shift is not None  # one of the inputs of what is recorded
    source, reverse, shift = graph.source, reverse_edges(graph), graph.edge_shift.round().long()
    ca, ba = e.row[:, :, None], a.row[:, None, :]
    pairs = e.used[:, :, None] & a.used[:, None, :] & (ca != ba)
    # The edge c→b between the same images as c→a and b→a, found in the sorted list of all near edges.
    keys, order = _keys(graph, source, graph.target, shift, near).sort()
    wanted = _keys(graph, source[ca], source[ba], shift[ca] - shift[ba])
    place = torch.searchsorted(keys, wanted).clamp(max=keys.shape[0] - 1)
    cb, closed = order[place], pairs & (keys[place] == wanted)
    start = source[ba] * (e.row.shape[1] * a.row.shape[1])
    closing = start + axis_column[reverse[ba]] * e.row.shape[1] + end_column[cb]
    table = TorsionTable(pairs=pairs, closing=torch.where(closed, closing, 0), closed=closed)
    return TorsionTables(ends=ends, axes=axes, tables=(table,), opposite=axes.slot[reverse])


def _tabulate(graph: Graph, cutoff: float | None) -> tuple[NeighborTables, Tensor, Tensor]:
    """One table of the near edges; (E,) column of each of them, the last and unused one for others; which are near."""
    target, num_atoms = graph.target, graph.num_nodes
    near = torch.ones_like(target)
    if cutoff is not None:
        assert graph.edge_len is not None
        near = (graph.edge_len < cutoff).long()
    degree = torch.zeros_like(graph.z).index_add(0, target, near)
    # An int to the type checker; a recorded graph keeps it as a symbol, which int() would not.
    width = cast(int, (degree.max() + 1).clamp(min=2).item())
    torch._check(width >= 2)
    column = torch.where(near > 0, _rank(target, near, degree), width - 1)
    slot = target * width + column
    edge = torch.arange(target.shape[0], device=target.device)
    # Far edges of an atom share its last slot; they add zero there, since a sum of indices would be meaningless.
    row = target.new_zeros(num_atoms * width).index_add(0, slot, edge * near)
    used = target.new_zeros(num_atoms * width).index_add(0, slot, near) > 0
    table = NeighborTable(row=row.view(num_atoms, width), used=used.view(num_atoms, width))
    return NeighborTables(tables=(table,), edge=edge, slot=slot), column, near


def _rank(target: Tensor, near: Tensor, degree: Tensor) -> Tensor:
    """(E,) place of each near edge among those with its target; edges may come in any order."""
    order = torch.argsort(target, stable=True)
    first = degree.cumsum(0) - degree
    count = near.index_select(0, order).cumsum(0) - 1 - first.index_select(0, target.index_select(0, order))
    return torch.empty_like(target).scatter(0, order, count)


def _keys(graph: Graph, source: Tensor, target: Tensor, shift: Tensor, near: Tensor | None = None) -> Tensor:
    """One number for each edge between images; −1 for edges that are not near."""
    weights = torch.tensor([_SPAN**2, _SPAN, 1], device=shift.device)
    key = (target * graph.num_nodes + source) * _SPAN**3 + ((shift + _SPAN // 2) * weights).sum(-1)
    return key if near is None else torch.where(near > 0, key, -1)
