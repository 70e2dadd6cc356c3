"""Normal random numbers that depend only on seed and step, so that a run can be restarted exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["Noise"]

_CHUNK = 64


class Noise:
    """Standard normal numbers (N, 3) for each step, from one seed per structure; the same on every device.

    Numbers are drawn for 64 steps at a time from the counter-based generator Philox with the key (seed, chunk), so that
    the numbers of any step can be computed without those of earlier steps.

    Args:
        seeds: one per structure. ptr: (B + 1,) first atom of each. device: of the result.
    """

    def __init__(self, seeds: Sequence[int], ptr: Tensor, device: torch.device) -> None:
        self._seeds = list(seeds)
        self._sizes = ptr.diff().tolist()
        self._device = device
        self._chunk: tuple[int, Tensor] | None = None

    def initial(self) -> Tensor:
        """(N, 3) for the initial velocities; no step uses these."""
        return self._draw(0, 1)[0]

    def at(self, step: int) -> Tensor:
        """(N, 3) for step ``step``."""
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
