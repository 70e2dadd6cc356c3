"""Index gathers from flat columns whose pieces, one per structure, have different lengths."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from zoo.process.transfer import sent_together

__all__ = ["Gather", "as_rows", "gathers", "select"]


class Gather:
    """Indices of the pieces ``rows`` in a ragged column.

    Args:
        rows, ptr, first: (B,) pieces, (B + 1,) their bounds in the result, (B,) their starts in the column; on the
            device of the column.
        total: length of the result.
    """

    def __init__(self, rows: Tensor, ptr: Tensor, first: Tensor, total: int) -> None:
        self.rows, self.ptr, self.total = rows, ptr, total
        self._first = first

    @property
    def start(self) -> Tensor:
        """(B,) start of each piece in the result."""
        return self.ptr[:-1]

    @cached_property
    def owner(self) -> Tensor:
        """(n,) place in ``rows`` of the piece that each index belongs to."""
        place = torch.arange(len(self.rows), device=self.ptr.device)
        return torch.repeat_interleave(place, self.ptr.diff(), output_size=self.total)

    @cached_property
    def index(self) -> Tensor:
        """(n,) indices in the column."""
        shift = (self._first - self.start).index_select(0, self.owner)
        return torch.arange(self.total, device=self.ptr.device) + shift


def gathers(rows: Tensor, *columns: tuple[Tensor, Tensor]) -> list[Gather]:
    """A gather of the same pieces from each column, given as its ``ptr`` and a copy of that on the host.

    With ``rows`` on the host, sizes are summed there, and a device gets all of them in one copy that it is not waited
    for.
    """
    on_host, device = rows.device.type == "cpu", columns[0][0].device
    parts, totals = [rows], []
    for ptr, host_ptr in columns:
        at = host_ptr if on_host else ptr
        first = at.index_select(0, rows)
        bounds = torch.zeros(len(rows) + 1, dtype=torch.int64, device=rows.device)
        torch.cumsum(at.index_select(0, rows + 1) - first, 0, out=bounds[1:])
        parts += [bounds, first]
        totals.append(int(bounds[-1]))
    here, *rest = sent_together(parts, device)
    return [Gather(here, rest[2 * k], rest[2 * k + 1], total) for k, total in enumerate(totals)]


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
