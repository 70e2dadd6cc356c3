"""Functions that keep nothing but their arguments, and whose gradients are made in one pass over these.

For forces of large structures: what training keeps of every edge in every layer does not fit the memory of 100,000
atoms, and what does not fit the cache is paged in anew in every step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from zoo.graph.tracing import is_traced
from zoo.nn.fused.multilinear import leads_on

__all__ = ["Recomputed"]

_FEW = 1 << 22
"""Numbers in the messages of a layer, 16 MB of float32, up to which keeping them is a little quicker."""


class Recomputed(ABC):
    """f(x_0, x_1, …) → tensors, by blocks of edges; the weights in it are constants."""

    @abstractmethod
    def value(self, *x: Tensor) -> tuple[Tensor, ...]:
        """f(x). Need not be differentiable."""

    @abstractmethod
    def gradients(self, asked: tuple[bool, ...], grads: tuple[Tensor, ...], *x: Tensor) -> tuple[Tensor | None, ...]:
        """Σ grads · ∂f/∂x_k for each k that is asked for, ``None`` for others. Need not be differentiable."""

    @abstractmethod
    def plain(self, *x: Tensor) -> tuple[Tensor, ...]:
        """f(x), differentiable any number of times; taken when a derivative is itself to be differentiated."""

    def __call__(self, *x: Tensor) -> tuple[Tensor, ...]:
        return _Function.apply(self, *x)

    @staticmethod
    def pays(numbers: int, *constants: Tensor, of: tuple[Tensor, ...]) -> bool:
        """Whether to use such a function for messages of so many ``numbers``, made from ``of`` and weights."""
        return (
            numbers > _FEW
            and not is_traced()
            and not any(c.requires_grad for c in constants)
            and all(x.device.type == "cpu" and x.dtype == of[0].dtype for x in (*constants, *of))
        )


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Recomputed, *x: Tensor) -> tuple[Tensor, ...]:
        ctx.function = function
        ctx.save_for_backward(*x)
        return function.value(*(a.detach() for a in x))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x = ctx.saved_tensors
        asked = tuple(needed and leads_on(ctx, k) for k, needed in enumerate(ctx.needs_input_grad[1:]))
        if not torch.is_grad_enabled():
            return None, *ctx.function.gradients(asked, grads, *x)
        # Views, none of which is made from another, as the arguments may be: each has its own part of the gradient.
        x = [a.view_as(a) for a in x]
        wanted = [a for a, needed in zip(x, asked) if needed]
        found = iter(torch.autograd.grad(ctx.function.plain(*x), wanted, grads, create_graph=True))
        return None, *(next(found) if needed else None for needed in asked)
