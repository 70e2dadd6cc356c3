"""Linked cells of all structures of a batch at once: any mix of molecules and crystals in a fixed number of operations.

Bins are no narrower than the cut-off where the structure is larger than it; all bins within reach of an atom's own are
searched. A periodic cell smaller than the cut-off is one bin that is searched in several images. A GPU is waited for
twice: for the number of pairs to look at, and for the number of edges. Memory is linear in atoms and edges.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from zoo.graph.graph import Graph

__all__ = ["search_cells"]

_PAIRS_AT_ONCE = 1 << 22
"""Pairs of places whose distances are computed at a time; more are taken in turns, for the sake of memory."""
_THIN = 1e-3
"""Å added to the extent of the atoms along directions that are not periodic, so that none lies on the border."""


class _Bins(NamedTuple):
    """Bins of every structure.

    Attributes:
        of_atom: (N, 3) bin of each atom in its structure. wrap: (N, 3) cells that were taken off its position.
        pos: (N, 3) Å, wrapped into the cell. number, reach: (B, 3) bins, and bins to search on either side.
        first: (B,) the first bin of each structure among all. keys, order: (N,) bins of the atoms, ascending, and
            which atoms these are.
    """

    of_atom: Tensor
    wrap: Tensor
    pos: Tensor
    number: Tensor
    reach: Tensor
    first: Tensor
    keys: Tensor
    order: Tensor


def search_cells(graph: Graph, cutoff: float, *, most_images: float) -> tuple[Tensor, Tensor] | None:
    """Edges (2, E) ordered by target, source and shift, and their shifts (E, 3) in float64.

    ``None`` if some periodic structure has no volume, or more than ``most_images`` images of its cell within reach.
    """
    pos = graph.pos.detach().double()
    eye = torch.eye(3, dtype=pos.dtype, device=pos.device)
    if graph.cell is None or graph.pbc is None:
        periodic = torch.zeros(graph.num_graphs, 3, dtype=torch.bool, device=pos.device)
        cell = eye.expand(graph.num_graphs, 3, 3)
    else:
        periodic = graph.pbc
        cell = torch.where(periodic.any(1)[:, None, None], graph.cell.detach().double(), eye)
    inverse = torch.linalg.inv_ex(cell)[0]
    bins = _bin(graph, pos, cell, inverse, periodic, cutoff)
    sides = 2 * bins.reach + 1
    offsets = sides.prod(1)
    left = torch.searchsorted(bins.keys, bins.keys)
    crowd = torch.searchsorted(bins.keys, bins.keys, right=True) - left
    images = (2 * torch.ceil(cutoff * inverse.norm(dim=1)) + 1).prod(1)
    sound = ~periodic.any(1) | ((torch.linalg.det(cell).abs() > 1e-6) & (images <= most_images))
    numbers = torch.stack([(offsets * graph.ptr.diff()).sum(), _largest(crowd), sound.all().long()]).tolist()
    if not numbers[2]:
        return None
    places, width = numbers[0], max(1, numbers[1])
    found = []
    step = max(1, _PAIRS_AT_ONCE // width)
    for begin in range(0, max(1, places), step):
        end = min(begin + step, places)
        found.append(_near(graph, cell, periodic, bins, offsets, sides, cutoff, begin, end, width))
    source, target, shift = (torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*found))
    return _ordered(source, target, shift, graph.num_nodes)


def _bin(graph: Graph, pos: Tensor, cell: Tensor, inverse: Tensor, periodic: Tensor, cutoff: float) -> _Bins:
    batch, count = graph.batch, graph.num_graphs
    # Where a structure is not periodic, its box has the normal of the two other lattice vectors and the atoms' extent.
    normal = inverse.mT / inverse.norm(dim=1)[:, :, None]
    box = torch.where(periodic[:, :, None], cell, normal)
    to_box = torch.linalg.inv_ex(box)[0]
    place = (pos[:, None] @ to_box.index_select(0, batch)).squeeze(1)
    index = batch[:, None].expand(-1, 3)
    low, high = (place.new_zeros(count, 3).scatter_reduce_(0, index, place, how, include_self=False)
                 for how in ("amin", "amax"))
    extent = torch.where(periodic, 1.0, (high - low).clamp(min=0.1 * cutoff) + _THIN)
    place = (place - torch.where(periodic, 0.0, low).index_select(0, batch)) / extent.index_select(0, batch)
    wrap = torch.where(periodic.index_select(0, batch), place.floor(), 0.0)
    heights = extent / to_box.norm(dim=1)
    most = (graph.ptr.diff().pow(1 / 3) + 1).long()[:, None]
    number = torch.minimum((heights / cutoff).floor().clamp(1, 1e6).long(), most)
    reach = torch.ceil(cutoff * number / heights).clamp(0, 1e6).long()
    reach = torch.where(periodic, reach, torch.minimum(reach, number - 1))
    own = number.index_select(0, batch)
    of_atom = ((place - wrap) * own).floor().clamp(0, 1e6).long().minimum(own - 1)
    sizes = number.prod(1)
    first = sizes.cumsum(0) - sizes
    keys, order = (first.index_select(0, batch) + _linear(of_atom, own)).sort(stable=True)
    wrapped = pos - (wrap[:, None] @ cell.index_select(0, batch)).squeeze(1)
    return _Bins(of_atom, wrap, wrapped, number, reach, first, keys, order)


def _near(graph: Graph, cell: Tensor, periodic: Tensor, bins: _Bins, offsets: Tensor, sides: Tensor, cutoff: float,
          begin: int, end: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Source, target and shift of the edges among places ``begin`` to ``end``: an atom and a bin within its reach."""
    of_atom = offsets.index_select(0, graph.batch)
    last = of_atom.cumsum(0)
    place = torch.arange(begin, end, device=last.device)
    target = torch.searchsorted(last, place, right=True)
    b = graph.batch.index_select(0, target)
    rank = place - (last - of_atom).index_select(0, target)
    side, number = sides.index_select(0, b), bins.number.index_select(0, b)
    split = torch.stack([rank // (side[:, 1] * side[:, 2]), rank // side[:, 2] % side[:, 1], rank % side[:, 2]], 1)
    other = bins.of_atom.index_select(0, target) + split - bins.reach.index_select(0, b)
    image = torch.div(other, number, rounding_mode="floor")
    inside = (periodic.index_select(0, b) | (image == 0)).all(1)
    key = bins.first.index_select(0, b) + _linear(other - image * number, number)
    left = torch.searchsorted(bins.keys, key)
    count = torch.where(inside, torch.searchsorted(bins.keys, key, right=True) - left, 0)

    column = torch.arange(width, device=left.device)
    source = bins.order[(left[:, None] + column).clamp(max=max(0, len(bins.order) - 1))]
    shift = image.to(cell.dtype)
    start = bins.pos.index_select(0, target) - (shift[:, None] @ cell.index_select(0, b)).squeeze(1)
    squared = (bins.pos[source] - start[:, None]).square().sum(2)
    itself = (source == target[:, None]) & (image == 0).all(1)[:, None]
    hit, slot = torch.nonzero((column < count[:, None]) & (squared < cutoff**2) & ~itself).unbind(1)
    source, target = source[hit, slot], target.index_select(0, hit)
    wraps = bins.wrap.index_select(0, target) - bins.wrap.index_select(0, source)
    return source, target, shift.index_select(0, hit) + wraps


def _ordered(source: Tensor, target: Tensor, shift: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    a, b, c = shift.long().unbind(1)
    span = 1 << 20
    order = torch.argsort((a * span + b) * span + c, stable=True)
    pair = (target * num_nodes + source).index_select(0, order)
    order = order.index_select(0, torch.argsort(pair, stable=True))
    return torch.stack([source.index_select(0, order), target.index_select(0, order)]), shift.index_select(0, order)


def _linear(bins: Tensor, number: Tensor) -> Tensor:
    """(n,) place of bins (n, 3) in the order of their structure, which has ``number`` (n, 3) of them."""
    return (bins[:, 0] * number[:, 1] + bins[:, 1]) * number[:, 2] + bins[:, 2]


def _largest(values: Tensor) -> Tensor:
    return values.amax() if len(values) else values.new_zeros(())
