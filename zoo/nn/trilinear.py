"""Trilinear forms T(a, b, c), whose derivatives of every order are three kernels.

The messages of the zoo are trilinear: with g the gradient of what an atom receives, T = Σ_j→i g_i · (W_ij ∘ h_j). Each
output is one partial derivative of T, and the derivative of a partial derivative is another partial derivative with one
argument exchanged. Writing the three kernels of T once therefore gives forward, backward and double backward (which
training on forces needs), and none of them keeps an edge-sized product for later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

__all__ = ["TrilinearForm"]


class TrilinearForm(ABC):
    """T(a, b, c), given by its three partial derivatives."""

    @abstractmethod
    def d_a(self, b: Tensor, c: Tensor) -> Tensor:
        """∂T/∂a, shaped like a."""

    @abstractmethod
    def d_b(self, a: Tensor, c: Tensor) -> Tensor:
        """∂T/∂b, shaped like b."""

    @abstractmethod
    def d_c(self, a: Tensor, b: Tensor) -> Tensor:
        """∂T/∂c, shaped like c."""

    def __call__(self, b: Tensor, c: Tensor) -> Tensor:
        """∂T/∂a, differentiable any number of times in b and c."""
        return _Partial.apply(self, 0, b, c)


class _Partial(torch.autograd.Function):
    """∂T/∂(argument ``which``) as a function of the other two arguments, in order."""

    @staticmethod
    def forward(ctx: Any, form: TrilinearForm, which: int, x: Tensor, y: Tensor) -> Tensor:
        ctx.form, ctx.which = form, which
        ctx.save_for_backward(x, y)
        return (form.d_a, form.d_b, form.d_c)[which](x, y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor | None, Tensor | None]:
        x, y = ctx.saved_tensors
        of_x, of_y = (k for k in range(3) if k != ctx.which)
        grad_x, grad_y = None, None
        if ctx.needs_input_grad[2]:
            grad_x = _Partial.apply(ctx.form, of_x, *_in_order(ctx.which, grad, of_y, y))
        if ctx.needs_input_grad[3]:
            grad_y = _Partial.apply(ctx.form, of_y, *_in_order(ctx.which, grad, of_x, x))
        return None, None, grad_x, grad_y


def _in_order(i: int, x: Tensor, j: int, y: Tensor) -> tuple[Tensor, Tensor]:
    return (x, y) if i < j else (y, x)
