"""The switch between fused operations and the plain ones that can be recorded as a graph.

Fused forms work on blocks that fit the cache, share work between the two directions of an edge, and have data-dependent
control flow. None of this is allowed in a graph that is recorded once and run on other structures. Code with such a
form calls :func:`is_traced` and then uses plain, differentiable torch operations, whose sizes follow from those of the
inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

__all__ = ["is_recorded", "is_traced", "traced"]

_TRACED: ContextVar[bool] = ContextVar("traced", default=False)


def is_traced() -> bool:
    """Whether plain operations are wanted: inside ``torch.compile``, ``torch.export`` and :func:`traced`."""
    return torch.compiler.is_compiling() or _TRACED.get()


def is_recorded() -> bool:
    """Whether data-dependent control flow is forbidden: only in :func:`traced`; ``torch.compile`` breaks the graph."""
    return not torch.compiler.is_compiling() and _TRACED.get()


@contextmanager
def traced() -> Iterator[None]:
    """Plain operations inside this block, in this thread."""
    token = _TRACED.set(True)
    try:
        yield
    finally:
        _TRACED.reset(token)
