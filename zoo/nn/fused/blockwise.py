"""Long chains of small layers, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.nn.fused import thresholds
from zoo.nn.fused.operation import FusedOperation

__all__ = ["Blockwise", "blockwise"]


class Blockwise(FusedOperation):
    """``function(*rows)``, where each row of the result depends on the same row of the arguments alone.

    Without gradients on a CPU it runs in blocks whose intermediate rows, of ``width`` numbers each, stay in the cache.
    With gradients they are all kept anyway, and nothing is gained.
    """

    use = thresholds.BLOCKWISE

    def __init__(self, function: Callable[..., Tensor], width: int) -> None:
        self.function = function
        self.width = width

    def numbers(self, *rows: Tensor) -> int:
        return rows[0].shape[0] * self.width

    def plain(self, *rows: Tensor) -> Tensor:
        return self.function(*rows)

    def fused(self, *rows: Tensor) -> Tensor:
        bytes_a_row = self.width * rows[0].element_size()
        size = max(1, thresholds.BLOCKWISE_BYTES * torch.get_num_threads() // bytes_a_row)
        return torch.cat([self.function(*block) for block in zip(*(x.split(size) for x in rows), strict=True)])


def blockwise(function: Callable[..., Tensor], *rows: Tensor, width: int | None = None) -> Tensor:
    """:class:`Blockwise`; ``width`` is that of the first argument if not given."""
    return Blockwise(function, width or rows[0].shape[-1])(*rows)
