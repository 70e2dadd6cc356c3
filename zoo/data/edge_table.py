"""Edges of every structure of a store, as flat columns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

__all__ = ["EdgeTable"]


@dataclass(frozen=True, eq=False)
class EdgeTable:
    """Edges of every structure, in indices local to the structure.

    Attributes:
        ptr: (M + 1,) int64, first edge of each structure.
        index: (2, E) uint8, int16 or int32, local source j and target i, sorted by target within a structure.
        cutoff: Å, or ``None`` for edges given by the caller.
        shift: (E, 3) int8, integer lattice translations; absent when all are zero.
        attrs: (E, d) float, attributes of given edges; optional.
    """

    ptr: Tensor
    index: Tensor
    cutoff: float | None = None
    shift: Tensor | None = None
    attrs: Tensor | None = None

    @cached_property
    def host_ptr(self) -> Tensor:
        """``ptr`` on the CPU, where batches are planned."""
        return self.ptr.cpu()
