"""Edges as the layers read them: neighbour slots of equal width for blocks of atoms with similar degree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Neighbors", "SlotBlock", "arrange"]

_BLOCK_FLOATS = {"cpu": 1 << 17}
_BLOCK_FLOATS_ELSEWHERE = 1 << 26
"""Size of the largest product of a block; on a CPU such that it stays in the cache until it is summed."""


class SlotBlock(NamedTuple):
    """Atoms ``lo:hi``, each with ``width`` neighbour slots, at slots ``start:stop`` = (hi − lo)·width."""

    lo: int
    hi: int
    start: int
    stop: int
    width: int


@dataclass
class Neighbors:
    """Inputs of the layers for each of S edges, or of S padded neighbour slots.

    Attributes:
        source, target: (S,) atoms j and i.
        pair: (S,) row of ``radial``, shared by the two directions of a pair.
        radial: (P, num_bessel) enveloped Bessel basis.
        harmonics: (S, (lmax + 1)²); zero in an empty slot.
        blocks: the slots of each block of atoms; ``None`` for plain edges.
    """

    source: Tensor
    target: Tensor
    pair: Tensor
    radial: Tensor
    harmonics: Tensor
    blocks: list[SlotBlock] | None


def arrange(degree: Tensor, first_edge: Tensor, floats_per_slot: int) -> tuple[Tensor, Tensor, Tensor, list[SlotBlock]]:
    """Order atoms by their number of neighbours and give every block of them slots of equal width.

    Args:
        degree, first_edge: (N,) number of incoming edges of each atom, and the first of them.
        floats_per_slot: of the largest product, see :attr:`Convolution.floats_per_slot`.

    Returns:
        order (N,): the atoms by degree; atom (S,): place in this order that owns each slot; edge (S,): the edge in
        each slot, E where it is empty; the blocks.
    """
    limit = max(1, _BLOCK_FLOATS.get(degree.device.type, _BLOCK_FLOATS_ELSEWHERE) // floats_per_slot)
    degree, order = torch.sort(degree)
    sizes = degree.tolist()
    blocks, lo, start = [], sum(d == 0 for d in sizes), 0
    while lo < len(sizes):
        hi = min(len(sizes), lo + max(1, limit // sizes[lo]))
        while hi > lo + 1 and (hi - lo) * sizes[hi - 1] > limit:
            hi = max(lo + 1, lo + limit // sizes[hi - 1])
        slots = sizes[hi - 1]
        blocks.append(SlotBlock(lo, hi, start, start + (hi - lo) * slots, slots))
        lo, start = hi, blocks[-1].stop
    slots = torch.zeros_like(degree)
    for block in blocks:
        slots[block.lo : block.hi] = block.width
    atom = torch.repeat_interleave(slots, output_size=start)
    first_slot = slots.cumsum(0) - slots
    place = torch.arange(start, device=degree.device) - first_slot.index_select(0, atom)
    edge = first_edge.index_select(0, order).index_select(0, atom) + place
    return order, atom, torch.where(place < degree.index_select(0, atom), edge, sum(sizes)), blocks
