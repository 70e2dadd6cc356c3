"""Index gathers from flat columns whose pieces, one per structure, have different lengths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Gather", "as_rows", "select"]


class Gather:
    """Indices of the pieces ``rows`` in a ragged column: ``index`` and ``owner`` (n,), their places in ``rows``."""

    def __init__(self, ptr: Tensor, host_ptr: Tensor, rows: Tensor) -> None:
        # Sizes are summed on the device of `rows`, so that a plan on the CPU does not wait for the GPU.
        at = host_ptr if rows.device.type == "cpu" else ptr
        first = at.index_select(0, rows)
        counts = at.index_select(0, rows + 1) - first
        own_ptr = torch.zeros(len(rows) + 1, dtype=torch.int64, device=rows.device)
        torch.cumsum(counts, 0, out=own_ptr[1:])
        total = int(own_ptr[-1])
        place = torch.arange(len(rows), device=ptr.device)
        shift = (first - own_ptr[:-1]).to(ptr.device, non_blocking=True)
        self.ptr = own_ptr.to(ptr.device, non_blocking=True)
        self.start = self.ptr[:-1]
        self.owner = torch.repeat_interleave(place, counts.to(ptr.device, non_blocking=True), output_size=total)
        self.index = torch.arange(total, device=ptr.device) + shift.index_select(0, self.owner)


def as_rows(rows: Tensor | Sequence[int]) -> Tensor:
    """Row indices, from indices or a mask."""
    rows = torch.as_tensor(rows)
    return rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows.long().reshape(-1)


def select(column: Tensor | None, index: Tensor, dtype: torch.dtype | None = None) -> Tensor | None:
    """Rows of a column, if there is one, in ``dtype``."""
    if column is None:
        return None
    taken = column.index_select(0, index)
    return taken if dtype is None else taken.to(dtype)
