"""Scratch buffers reused by consecutive blocks of edges, so that they stay in the CPU cache."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["Scratch"]


class Scratch:
    """Memory by name. A fresh allocation for every block would be cold, and cost a third of a sum over neighbours."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def empty(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """Uninitialised memory of this shape, with the dtype and device of ``like``."""
        size = math.prod(shape)
        if name not in self._held or self._held[name].shape[0] < size:
            # Blocks differ by a few edges: with room to spare, the next one need not ask for memory again.
            self._held[name] = like.new_empty(size + size // 4)
        return self._held[name][:size].view(shape)

    def rows(self, name: str, x: Tensor, index: Tensor) -> Tensor:
        """Rows ``index`` (b,) of ``x``."""
        return torch.index_select(x, 0, index, out=self.empty(name, x, index.shape[0], *x.shape[1:]))
