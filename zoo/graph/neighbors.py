"""Edges: every pair within a cut-off, every periodic image, sorted by target, never truncated.

Three methods give the same edge set: ``pairs`` compares all pairs of each molecule at once (no loop over molecules),
``vesin`` calls the library of that name, and ``cells`` takes all structures at once in plain torch, on any device.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from zoo.errors import StructureError
from zoo.graph.cell_lists import search_cells
from zoo.graph.graph import Graph
from zoo.graph.tracing import is_recorded

__all__ = ["Method", "add_edges", "edge_vectors", "edges_within", "reverse_edges"]

Method = Literal["auto", "pairs", "vesin", "cells"]

_MAX_ATOMS_FOR_PAIRS = 200
_MAX_IMAGES = 10_000
_VESIN_BINS = 4e4  # less than half of vesin's own bound


def add_edges(graph: Graph, cutoff: float, *, method: Method = "auto") -> Graph:
    """The graph with all directed edges j→i of 0 < ‖x_ij‖ < ``cutoff`` (Å), self-images included.

    Raises:
        StructureError: a periodic structure has no volume, or so small a cell that the edges cannot be listed.
    """
    pairs = None
    if method == "auto":
        method, pairs = _choose(graph)
    if method == "pairs":
        edge_index, shift = _molecule_pairs(graph, cutoff, pairs), None
    else:
        edge_index, shift = (_cells if method == "cells" else _one_by_one)(graph, cutoff)
    return graph.replace(edge_index=edge_index, edge_shift=shift, cutoff=cutoff)


def edge_vectors(graph: Graph, pos: Tensor, cell: Tensor | None) -> Tensor:
    """x_ij = pos[j] + S·cell − pos[i] for every edge, (E, 3); differentiable in ``pos`` and ``cell``."""
    vec = pos.index_select(0, graph.source) - pos.index_select(0, graph.target)
    if graph.edge_shift is not None and cell is not None:
        shift = graph.edge_shift.to(pos.dtype)
        if graph.num_graphs == 1:
            return vec + shift @ cell[0]
        of_edge = graph.batch.index_select(0, graph.target)
        return vec + torch.einsum("ek,ekd->ed", shift, cell.index_select(0, of_edge))
    return vec


def edges_within(graph: Graph, cutoff: float | None) -> Tensor:
    """Indices of the edges shorter than ``cutoff`` (Å), ascending; of all edges when it is ``None``."""
    if cutoff is None:
        return torch.arange(graph.num_edges, device=graph.device)
    assert graph.edge_len is not None
    return torch.nonzero(graph.edge_len < cutoff).flatten()


def reverse_edges(graph: Graph) -> Tensor:
    """(E,) index of the edge i→j with shift −S for each edge j→i with shift S; computed once per set of edges.

    Raises:
        StructureError: some edge has no reverse, as in a directed graph given by the caller.
    """
    return graph.memoize("reverse", lambda: _reverse_edges(graph), edges_only=True)


def _reverse_edges(graph: Graph) -> Tensor:
    if is_recorded():
        return _reverse_edges_unchecked(graph, span=101)
    if graph.cutoff is not None and graph.device.type != "cpu":
        # The edges of a search have a reverse each, and a GPU would be waited for to see it.
        return _reverse_edges_unchecked(graph, span=255)
    if graph.edge_shift is None:
        # Molecules: edges come ordered by (target, source), so that ordering them by source lists the reverses in turn.
        reverse = torch.argsort(graph.source, stable=True)
        source, target = graph.source.index_select(0, reverse), graph.target.index_select(0, reverse)
        if torch.equal(source, graph.target) and torch.equal(target, graph.source):
            return reverse
    n = graph.num_nodes
    forward, backward = graph.target * n + graph.source, graph.source * n + graph.target
    if graph.edge_shift is not None and graph.num_edges:
        shift = graph.edge_shift.round().long()
        span = 2 * int(shift.abs().max()) + 1
        weights = torch.tensor([span * span, span, 1], device=shift.device)
        code, middle = ((shift + span // 2) * weights).sum(1), span**3
        forward, backward = forward * middle + code, backward * middle + (middle - 1 - code)
    forward_sorted, forward_order = forward.sort()
    backward_sorted, backward_order = backward.sort()
    if not torch.equal(forward_sorted, backward_sorted):
        raise StructureError("some edge j→i has no reverse i→j, but this architecture needs an undirected graph. "
                             "Fix: give every edge in both directions")
    reverse = torch.empty_like(forward_order)
    reverse[backward_order] = forward_order
    return reverse


def _reverse_edges_unchecked(graph: Graph, *, span: int) -> Tensor:
    """The same without a check whether every edge has a reverse, for shifts up to ±(span − 1) / 2."""
    n = graph.num_nodes
    forward, backward = graph.target * n + graph.source, graph.source * n + graph.target
    if graph.edge_shift is not None:
        a, b, c = graph.edge_shift.round().long().unbind(1)
        code = (a * span + b) * span + c
        forward, backward = forward * span**3 + code, backward * span**3 - code
    return torch.empty_like(forward).scatter(0, torch.argsort(backward), torch.argsort(forward))


def _choose(graph: Graph) -> tuple[Method, int | None]:
    """The quickest method for these structures; the number of pairs, if it was counted on the way."""
    large: Method = "vesin" if graph.device.type == "cpu" else "cells"
    if not graph.num_graphs or (graph.pbc is not None and (graph.device.type != "cpu" or bool(graph.pbc.any()))):
        return large, None
    n_atoms = graph.ptr.diff()
    largest, pairs = torch.stack([n_atoms.max(), n_atoms.square().sum()]).tolist()
    return ("pairs", pairs) if largest <= _MAX_ATOMS_FOR_PAIRS else (large, None)


def _molecule_pairs(graph: Graph, cutoff: float, pairs: int | None) -> Tensor:
    """All pairs inside each molecule by index arithmetic: Σ n² distances, no padding, targets already sorted."""
    n_atoms = graph.ptr.diff()
    neighbors = n_atoms.index_select(0, graph.batch)
    target = torch.repeat_interleave(neighbors, output_size=pairs)
    row_start = neighbors.cumsum(0) - neighbors
    local = torch.arange(target.shape[0], device=target.device) - row_start.index_select(0, target)
    source = graph.ptr.index_select(0, graph.batch.index_select(0, target)) + local
    pos = graph.pos.detach()
    vec = pos.index_select(0, source) - pos.index_select(0, target)
    keep = torch.nonzero((vec.square().sum(1) < cutoff**2) & (source != target)).flatten()
    return torch.stack([source.index_select(0, keep), target.index_select(0, keep)])


def _cells(graph: Graph, cutoff: float) -> tuple[Tensor, Tensor | None]:
    found = None if _lacks_cell(graph) else search_cells(graph, cutoff, most_images=_MAX_IMAGES)
    if found is None:
        _check_cells(graph, cutoff)
        raise AssertionError("one of the structures has a cell that cannot be searched")
    edge_index, shift = found
    return edge_index, shift.to(graph.pos) if graph.cell is not None else None


def _lacks_cell(graph: Graph) -> bool:
    return graph.cell is None and graph.pbc is not None and bool(graph.pbc.any())


def _check_cells(graph: Graph, cutoff: float) -> None:
    if graph.pbc is None:
        return
    for b, periodic in enumerate(graph.pbc.any(1).tolist()):
        if periodic and graph.cell is None:
            raise StructureError(f"structure {b} is periodic but has no cell. Fix: set atoms.cell")
        if periodic and graph.cell is not None:
            _check_cell(graph.cell[b].detach().double(), cutoff, b)


def _one_by_one(graph: Graph, cutoff: float) -> tuple[Tensor, Tensor | None]:
    """Search one structure at a time by vesin; all of them by cells if it cannot bin one."""
    _check_cells(graph, cutoff)
    indices, shifts = [], []
    for b, (lo, hi) in enumerate(pairwise(graph.ptr.tolist())):
        pos = graph.pos[lo:hi].detach().double()
        pbc = None if graph.pbc is None else graph.pbc[b]
        cell = None if graph.cell is None else graph.cell[b].detach().double()
        if pbc is None or not bool(pbc.any()):
            pbc, cell = None, None
        if not _fits_vesin(pos, cell, pbc, cutoff):
            return _cells(graph, cutoff)
        edge_index, shift = _vesin(pos, cell, pbc, cutoff)
        indices.append(edge_index + lo)
        shifts.append(shift)
    edge_index = torch.cat(indices, 1) if indices else graph.ptr.new_zeros(2, 0)
    shift = torch.cat(shifts) if shifts else graph.pos.new_zeros(0, 3)
    return edge_index.to(graph.device), shift.to(graph.pos) if graph.cell is not None else None


def _check_cell(cell: Tensor, cutoff: float, index: int) -> None:
    volume = float(torch.linalg.det(cell).abs())
    if not volume > 1e-6:
        raise StructureError(f"structure {index} is periodic but its cell has volume {volume:.3g} Å³. "
                             "Fix: set atoms.cell")
    images = float((2 * torch.ceil(cutoff / _heights(cell)) + 1).prod())
    if images > _MAX_IMAGES:
        raise StructureError(f"structure {index}: {images:.0f} images of its cell lie within the cut-off of {cutoff} "
                             f"Å; lengths are {[round(x, 4) for x in cell.norm(dim=1).tolist()]} Å. "
                             "Is the unit Å? Fix: give the cell in Å")


def _heights(cell: Tensor) -> Tensor:
    """Distance between opposite faces of the cell, (3,)."""
    return 1.0 / torch.linalg.inv(cell).norm(dim=0)


def _vesin(pos: Tensor, cell: Tensor | None, pbc: Tensor | None, cutoff: float) -> tuple[Tensor, Tensor]:
    from vesin import NeighborList

    box = pos.new_zeros(3, 3) if cell is None else cell
    periodic = False if pbc is None else pbc.cpu().numpy()
    search = NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    i, j, shift = search.compute(pos.cpu().numpy(), box.cpu().numpy(), periodic, quantities="ijS")
    target, source = (torch.from_numpy(x.astype("int64")) for x in (i, j))
    return torch.stack([source, target]), torch.from_numpy(shift.astype("float64"))


def _fits_vesin(pos: Tensor, cell: Tensor | None, pbc: Tensor | None, cutoff: float) -> bool:
    """Whether vesin can bin the structure. It makes at most 10⁵ bins and widens them by one factor in all directions:
    a wide sheet or a needle is left with no bin at all in its short directions, and the process dies of a division by
    zero (vesin 0.6.2).
    """
    if not len(pos):
        return True
    periodic = torch.zeros(3, dtype=torch.bool, device=pos.device) if pbc is None else pbc
    box, _ = _bounding_cell(pos, cell, periodic, cutoff)
    bins = (_heights(box) / cutoff).clamp(min=1.0)
    total = float(bins.prod())
    widened = (total / _VESIN_BINS) ** (1 / 3)
    return total < _VESIN_BINS or (total < 1e15 and float(bins.min()) > widened)


def _bounding_cell(pos: Tensor, cell: Tensor | None, periodic: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """A cell that holds all atoms: lattice vectors where periodic, the extent of the atoms elsewhere."""
    if cell is None:
        low, high = pos.min(0).values, pos.max(0).values
        return torch.diag((high - low).clamp(min=0.1 * cutoff) + 1e-3), low
    origin = torch.zeros(3, dtype=pos.dtype, device=pos.device)
    if bool(periodic.all()):
        return cell, origin
    box = cell.clone()
    for d in torch.nonzero(~periodic)[:, 0].tolist():
        others = [k for k in range(3) if k != d]
        normal = torch.linalg.cross(box[others[0]], box[others[1]])
        box[d] = normal / normal.norm()
        along = pos @ box[d]
        box[d] = box[d] * ((along.max() - along.min()).clamp(min=0.1 * cutoff) + 1e-3)
        origin = origin + along.min() * normal / normal.norm()
    return box, origin
