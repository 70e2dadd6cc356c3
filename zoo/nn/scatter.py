"""Gather and scatter-sum: the two index operations of message passing, cheap to differentiate twice."""

from __future__ import annotations

from torch import Tensor

__all__ = ["gather", "sum_by"]


def gather(x: Tensor, index: Tensor) -> Tensor:
    """Row ``index[e]`` of ``x`` for every e: (N, …), (E,) → (E, …).

    Unlike ``x[index]``, whose backward is a slow ``index_put``, the backward of this one is :func:`sum_by`.
    """
    return x.index_select(0, index)


def sum_by(x: Tensor, index: Tensor, num: int) -> Tensor:
    """Σ of the rows of ``x`` that share an ``index``: (E, …), (E,) → (num, …). Rows without a summand are zero."""
    return x.new_zeros((num, *x.shape[1:])).index_add(0, index, x)
