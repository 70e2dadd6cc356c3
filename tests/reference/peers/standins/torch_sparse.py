"""Stands in for the compiled package of this name, as far as GemNet-T asks for it. Written from its documentation."""

from __future__ import annotations

import torch
from torch import Tensor


class SparseTensor:
    """Entries (row, col, value) sorted by row, then column; ``tensor[rows]`` picks rows, repeats allowed."""

    def __init__(self, *, row: Tensor, col: Tensor, value: Tensor, sparse_sizes: tuple[int, int]) -> None:
        order = torch.argsort(row * sparse_sizes[1] + col, stable=True)
        self._row, self._col, self._value = row[order], col[order], value[order]
        self._sizes = sparse_sizes

    @property
    def storage(self) -> SparseTensor:
        return self

    def row(self) -> Tensor:
        return self._row

    def value(self) -> Tensor:
        return self._value

    def __getitem__(self, rows: Tensor) -> SparseTensor:
        count = torch.bincount(self._row, minlength=self._sizes[0])
        start = torch.cat([count.new_zeros(1), count.cumsum(0)])[rows]
        new_row = torch.repeat_interleave(torch.arange(len(rows)), count[rows])
        first = torch.cat([count.new_zeros(1), count[rows].cumsum(0)])[new_row]
        entry = start[new_row] + torch.arange(len(new_row)) - first
        picked = SparseTensor.__new__(SparseTensor)
        picked._row, picked._col, picked._value = new_row, self._col[entry], self._value[entry]
        picked._sizes = (len(rows), self._sizes[1])
        return picked
