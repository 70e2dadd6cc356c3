"""Long chains of small layers, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.graph.tracing import is_traced

__all__ = ["blockwise"]

_BLOCK_BYTES = 256 * 1024
"""Of intermediate rows, for each thread."""


def blockwise(function: Callable[..., Tensor], *rows: Tensor, width: int | None = None) -> Tensor:
    """``function(*rows)``, where each row of the result depends on the same row of the arguments alone.

    Without gradients on a CPU it is worked off in blocks whose intermediate rows, of ``width`` numbers each (the width
    of the first argument if not given), stay in the cache. With gradients they are all kept anyway: nothing is gained.
    """
    first = rows[0]
    if torch.is_grad_enabled() or first.device.type != "cpu" or is_traced():
        return function(*rows)
    bytes_a_row = (width or first.shape[-1]) * first.element_size()
    size = max(1, _BLOCK_BYTES * torch.get_num_threads() // bytes_a_row)
    if first.shape[0] <= size:
        return function(*rows)
    return torch.cat([function(*block) for block in zip(*(x.split(size) for x in rows), strict=True)])
