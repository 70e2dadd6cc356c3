"""Computations that give the same bits every time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["repeatable"]


@contextmanager
def repeatable(wanted: bool = True) -> Iterator[None]:
    """Inside this block CUDA computes in a fixed order, if ``wanted``; an operation that cannot raises an error.

    CUDA otherwise adds rows that meet in one atom in the order in which threads come, and results differ in the last
    bits from run to run. On a CPU nothing changes: torch's sums there have a fixed order. The matrix products of CUDA
    need a variable of the environment, which is read when the device is first used: enter before.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
