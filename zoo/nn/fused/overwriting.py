"""Sums, products and SiLU in the memory of an argument that is not needed again, where no gradient is recorded.

Where autograd records, or a graph is traced, they are the plain operations.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.graph.tracing import is_traced
from zoo.nn.activations import silu

__all__ = ["add_overwriting", "multiply_overwriting", "silu_overwriting"]


def add_overwriting(x: Tensor, y: Tensor) -> Tensor:
    """x + y, in the memory of ``x``, which has the shape of the sum."""
    return x.add_(y) if _may_overwrite(x, y) else x + y


def multiply_overwriting(x: Tensor, y: Tensor) -> Tensor:
    """x ∘ y, in the memory of ``x``, which has the shape of the product."""
    return x.mul_(y) if _may_overwrite(x, y) else x * y


def silu_overwriting(x: Tensor) -> Tensor:
    """x σ(x), in the memory of ``x``."""
    return F.silu(x, inplace=True) if _may_overwrite(x, x) else silu(x)


def _may_overwrite(x: Tensor, y: Tensor) -> bool:
    # Under autocast the two differ, and the result has the wider dtype.
    return x.dtype == y.dtype and not torch.is_grad_enabled() and not is_traced()
