"""Multilinear forms T(a, b, …), whose derivatives of every order are a handful of kernels.

The messages of the zoo are multilinear: with g the gradient of what an atom receives, T = Σ_j→i g_i · (W_ij ∘ h_j).
Each result is one partial derivative of T, and the derivative of a partial derivative is another partial derivative
with one argument exchanged. Writing the partial derivatives of T once therefore gives forward, backward and double
backward (which training on forces needs), and none of them keeps an edge-sized product for later.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from zoo.nn.fused import thresholds
from zoo.nn.fused.operation import FusedOperation
from zoo.nn.fused.torch_kernels import leads_on

__all__ = ["MultilinearForm"]


class MultilinearForm(FusedOperation):
    """T(a_0, a_1, …), linear in each argument. Calling it with all arguments but one gives ∂T/∂ of that one.

    Attributes:
        result: which argument that is; a_0 by default.
        rows: edges or pairs in the products of the plain form. The arguments may be much smaller than these.
    """

    use = thresholds.FILTERED_SUMS
    result = 0
    rows: int

    @abstractmethod
    def partial(self, k: int, *others: Tensor) -> Tensor:
        """∂T/∂a_k, shaped like a_k, from the other arguments in order. Need not be differentiable."""

    def numbers(self, *others: Tensor) -> int:
        return self.rows * max(x.shape[-1] for x in others)

    def fused(self, *others: Tensor) -> Tensor:
        return _Partial.apply(self, self.result, *others)

    def __call__(self, *others: Tensor) -> Tensor:
        """∂T/∂a_result in the widest dtype of the arguments, differentiable any number of times."""
        dtype = reduce(torch.promote_types, (x.dtype for x in others))  # under autocast they differ
        return super().__call__(*(x.to(dtype) for x in others))


class _Partial(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, form: MultilinearForm, k: int, *others: Tensor) -> Tensor:
        ctx.form, ctx.k = form, k
        ctx.save_for_backward(*others)
        # Detached, because embedding_bag prepares for its own backward whenever its input requires grad.
        return form.partial(k, *(x.detach() for x in others))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        arguments = list(ctx.saved_tensors)
        arguments.insert(ctx.k, grad)
        grads: list[Tensor | None] = []
        for position in range(len(arguments) - 1):
            m = position if position < ctx.k else position + 1
            wanted = ctx.needs_input_grad[2 + position] and leads_on(ctx, position)
            grads.append(_Partial.apply(ctx.form, m, *arguments[:m], *arguments[m + 1 :]) if wanted else None)
        return None, None, *grads
