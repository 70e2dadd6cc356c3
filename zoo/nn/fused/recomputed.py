"""Functions that keep only their arguments, with gradients computed in one pass over these.

For forces of large structures: autograd would keep intermediate results of every edge in every layer, which exceeds the
memory for 100,000 atoms and the cache for far fewer.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from zoo.nn.fused import thresholds
from zoo.nn.fused.operation import FusedOperation
from zoo.nn.fused.torch_kernels import leads_on

__all__ = ["Recomputed"]


class Recomputed(FusedOperation):
    """f(x_0, x_1, …) → tensor, computed block by block of edges; the weights in it are constants."""

    use = thresholds.RECOMPUTED

    @abstractmethod
    def value(self, *x: Tensor) -> Tensor:
        """f(x). Need not be differentiable."""

    @abstractmethod
    def gradients(self, wanted: tuple[bool, ...], grad: Tensor, *x: Tensor) -> tuple[Tensor | None, ...]:
        """grad · ∂f/∂x_k for each k that is wanted, ``None`` for others. Need not be differentiable."""

    def differentiable(self, *x: Tensor) -> Tensor:
        """f(x) in operations that differentiate any number of times, for derivatives of a derivative."""
        return self.plain(*x)

    def fused(self, *x: Tensor) -> Any:
        return self.apply(*x)

    def apply(self, *x: Tensor) -> Tensor:
        """f(x), its gradients by :meth:`gradients`."""
        return _RecomputedFunction.apply(self, *x)


class _RecomputedFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Recomputed, *x: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(*x)
        return function.value(*(a.detach() for a in x))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x = ctx.saved_tensors
        wanted = tuple(needed and leads_on(ctx, k) for k, needed in enumerate(ctx.needs_input_grad[1:]))
        if not torch.is_grad_enabled():
            return None, *ctx.function.gradients(wanted, grad, *x)
        # Views, none of which is made from another, as the arguments may be: each has its own part of the gradient.
        x = [a.view_as(a) for a in x]
        inputs = [a for a, needed in zip(x, wanted) if needed]
        found = iter(torch.autograd.grad(ctx.function.differentiable(*x), inputs, grad, create_graph=True))
        return None, *(next(found) if needed else None for needed in wanted)
