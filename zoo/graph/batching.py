"""Batches: structures joined into one graph, some structures of a batch, and lists cut into parts of a given size.

The inverse of :func:`join` is :meth:`zoo.graph.graph.Graph.structures`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from zoo.graph.graph import Graph

__all__ = ["cut", "join", "select"]


def join(graphs: Sequence[Graph]) -> Graph:
    """Graphs of one structure each as one batch, in their order.

    A field is kept if every graph has it. Where only some graphs are periodic, the others get a unit cell and no
    periodic direction; where only some have edge shifts, the others get zeros.
    """
    optional: dict[str, Tensor] = {}
    for name in ("node_attrs", "node_vectors", "charge", "spin"):
        if all(getattr(g, name) is not None for g in graphs):
            optional[name] = torch.cat([getattr(g, name) for g in graphs])
    if any(g.pbc is not None for g in graphs):
        optional["cell"] = torch.cat([torch.eye(3, dtype=g.dtype)[None] if g.cell is None else g.cell for g in graphs])
        optional["pbc"] = torch.cat([torch.zeros(1, 3, dtype=torch.bool) if g.pbc is None else g.pbc for g in graphs])
    n_atoms = torch.tensor([g.num_nodes for g in graphs])
    joined = Graph.from_tensors(
        torch.cat([g.z for g in graphs]), torch.cat([g.pos for g in graphs]), n_atoms=n_atoms, **optional
    )
    if all(g.edge_index is not None for g in graphs):
        joined = joined.replace(edge_index=torch.cat([g.edge_index + start for g, start in zip(graphs, joined.ptr)], 1))
        if any(g.edge_shift is not None for g in graphs):
            joined = joined.replace(edge_shift=torch.cat(
                [g.pos.new_zeros(g.num_edges, 3) if g.edge_shift is None else g.edge_shift for g in graphs]))
        attrs = [g.edge_attrs for g in graphs if g.edge_attrs is not None]
        if len(attrs) == len(graphs):
            joined = joined.replace(edge_attrs=torch.cat(attrs))
    return joined


def select(graph: Graph, keep: Tensor) -> Graph:
    """The structures of a batch for which ``keep`` (B,) bool is true, without edges."""
    atoms = keep[graph.batch]
    optional = {n: v[atoms] for n in ("node_attrs", "node_vectors") if (v := getattr(graph, n)) is not None}
    optional |= {n: v[keep] for n in ("cell", "pbc", "charge", "spin") if (v := getattr(graph, n)) is not None}
    return Graph.from_tensors(graph.z[atoms], graph.pos[atoms], n_atoms=graph.ptr.diff()[keep], **optional)


def cut(sizes: Sequence[int], limit: int) -> Iterator[range]:
    """Consecutive ranges of indices whose sizes (atoms, for example) add up to at most ``limit``; never an empty one.

    An item larger than the limit is alone in its range.
    """
    start = total = 0
    for index, size in enumerate(sizes):
        if index > start and total + size > limit:
            yield range(start, index)
            start, total = index, 0
        total += size
    if start < len(sizes):
        yield range(start, len(sizes))
