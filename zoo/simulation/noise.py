"""Normal numbers that follow from (seed, step) alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["Noise"]

_CHUNK = 64


class Noise:
    """Standard normal (N, 3) for each step, every structure from its own seed, the same on every device.

    Numbers are drawn for 64 steps at a time from the counter-based generator Philox with the key (seed, chunk), so
    that any step can be reached without the steps before it.

    Args:
        seeds: one a structure. ptr: (B + 1,) first atom of each. device: where numbers are wanted.
    """

    def __init__(self, seeds: Sequence[int], ptr: Tensor, device: torch.device) -> None:
        self._seeds = list(seeds)
        self._sizes = ptr.diff().tolist()
        self._device = device
        self._chunk: tuple[int, Tensor] | None = None

    def initial(self) -> Tensor:
        """(N, 3) for velocities at the start; no step uses these."""
        return self._draw(0, 1)[0]

    def at(self, step: int) -> Tensor:
        """(N, 3) for one step."""
        number, place = divmod(step, _CHUNK)
        if self._chunk is None or self._chunk[0] != number:
            self._chunk = number, self._draw(number + 1, _CHUNK)
        return self._chunk[1][place]

    def _draw(self, chunk: int, rows: int) -> Tensor:
        parts = []
        for seed, size in zip(self._seeds, self._sizes):
            key = np.array([seed % 2**64, chunk], dtype=np.uint64)
            parts.append(np.random.Generator(np.random.Philox(key=key)).standard_normal((rows, size, 3)))
        return torch.from_numpy(np.concatenate(parts, 1)).to(self._device)
