"""Edges of a whole store, computed once, in batches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.data.edge_table import EdgeTable
from zoo.errors import DataError
from zoo.graph.neighbors import add_edges
from zoo.process.progress import track

if TYPE_CHECKING:
    from zoo.data.store import Store
    from zoo.graph.graph import Graph

__all__ = ["given_edges", "with_edges"]

ATOMS_PER_BATCH = 30_000
"""Limits the padded distance matrices to about 100 MB for molecules like those of QM9."""


def with_edges(store: Store, cutoff: float, *, progress: bool = False) -> Store:
    """The store with the neighbours within ``cutoff`` (Å) of every atom as its edges, all periodic images.

    Raises:
        DataError: two atoms of a structure coincide; the structure is named.
    """
    if not cutoff > 0:
        raise DataError(f"the cut-off is {cutoff} Å; it must be positive. Fix: give a cut-off above 0 Å.")
    index_dtype = _smallest(int(store.n_atoms.max()) if len(store) else 1)
    counts, indices, shifts, shifted = [], [], [], False
    bare = replace(store, edges=None)
    for rows in track(_batches(store), "edges", "batches", enabled=progress):
        graph = add_edges(bare.graph(rows, dtype=store.pos.dtype), cutoff)
        _refuse_coinciding(graph, store, rows)
        assert graph.edge_index is not None
        owner = graph.batch[graph.target]
        counts.append(torch.bincount(owner, minlength=len(rows)))
        indices.append((graph.edge_index - graph.ptr[owner]).to(index_dtype))
        if graph.edge_shift is None:
            shifts.append(torch.zeros(len(owner), 3, dtype=torch.int8, device=store.device))
        else:
            if len(owner) and float(graph.edge_shift.abs().max()) > 127:
                raise DataError(f"a cut-off of {cutoff} Å reaches over more than 127 cells. Fix: choose a smaller one.")
            shifts.append(graph.edge_shift.round().to(torch.int8))
            shifted = True
    count = torch.cat(counts) if counts else store.ptr.new_zeros(0)
    ptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
    index = torch.cat(indices, 1) if indices else torch.zeros(2, 0, dtype=index_dtype)
    table = EdgeTable(ptr=ptr, index=index, cutoff=float(cutoff), shift=torch.cat(shifts) if shifted else None)
    return replace(bare, edges=table)


def given_edges(counts: Tensor, index: Tensor, n_atoms: Tensor, attrs: Tensor | None = None) -> EdgeTable:
    """A caller's edges as a table, sorted by target.

    Args:
        counts: (M,) edges of each structure.
        index: (2, E) source j and target i, local to the structure.
        n_atoms: (M,) atoms of each structure.
        attrs: (E, d) in the order of ``index``.

    Raises:
        DataError: an edge ends at an atom that the structure does not have, or shapes disagree.
    """
    if index.dim() != 2 or index.shape[0] != 2 or index.shape[1] != int(counts.sum()):
        raise DataError(f"edge_index has shape {tuple(index.shape)}; expected (2, {int(counts.sum())}). "
                        "Fix: give one column of two atom indices for every edge.")
    if attrs is not None and attrs.shape[0] != index.shape[1]:
        raise DataError(f"edge_attrs has {attrs.shape[0]} rows for {index.shape[1]} edges. "
                        "Fix: give one row for every edge.")
    owner = torch.repeat_interleave(torch.arange(len(counts)), counts)
    outside = ((index < 0) | (index >= n_atoms[owner])).any(0).nonzero()
    if len(outside):
        edge, row = int(outside[0, 0]), int(owner[outside[0, 0]])
        raise DataError(f"structure {row} has {int(n_atoms[row])} atoms but an edge {index[:, edge].tolist()}; indices "
                        "are local to the structure and begin at 0. "
                        "Fix: subtract the index of the structure's first atom.")
    largest = int(n_atoms.max()) if len(n_atoms) else 1
    order = torch.argsort(owner * largest + index[1].long(), stable=True)
    ptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).long()
    return EdgeTable(ptr=ptr, index=index[:, order].to(_smallest(largest)),
                     attrs=None if attrs is None else attrs[order])


def _batches(store: Store) -> list[Tensor]:
    """Consecutive rows of at most ``ATOMS_PER_BATCH`` atoms (one structure at least)."""
    group = torch.div(store.ptr[:-1].cpu(), ATOMS_PER_BATCH, rounding_mode="floor")
    _, sizes = torch.unique_consecutive(group, return_counts=True)
    return list(torch.arange(len(store)).split(sizes.tolist()))


def _smallest(n_atoms: int) -> torch.dtype:
    if n_atoms <= 256:
        return torch.uint8
    return torch.int16 if n_atoms <= 32_768 else torch.int32


def _refuse_coinciding(graph: Graph, store: Store, rows: Tensor) -> None:
    source, target = graph.source, graph.target
    vector = graph.pos[source] - graph.pos[target]
    if graph.edge_shift is not None and graph.cell is not None:
        cells = graph.cell[graph.batch[target]]
        vector = vector + (graph.edge_shift.unsqueeze(1) @ cells).squeeze(1)
    close = (vector.square().sum(-1) < 1e-6).nonzero()
    if len(close):
        j, i = source[close[0, 0]], target[close[0, 0]]
        b = int(graph.batch[i])
        row = int(rows[b])
        raise DataError(f"structure {row} (id {int(store.ids[row])}): atoms {int(j - graph.ptr[b])} and "
                        f"{int(i - graph.ptr[b])} are less than 0.001 Å apart. "
                        "Fix: correct this structure or leave it out.")
