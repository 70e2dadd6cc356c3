"""Multilinear forms T(a, b, …), whose derivatives of every order are a handful of kernels.

The messages of the zoo are multilinear: with g the gradient of what an atom receives, T = Σ_j→i g_i · (W_ij ∘ h_j).
Each result is one partial derivative of T, and the derivative of a partial derivative is another partial derivative
with one argument exchanged. Writing the partial derivatives of T once therefore gives forward, backward and double
backward (which training on forces needs), and none of them keeps an edge-sized product for later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from zoo.graph.tracing import is_traced

__all__ = ["MultilinearForm", "leads_on"]

_FEW = 131_072
"""Numbers the products of a form may have for the plain operations to be quicker: a small molecule alone."""


class MultilinearForm(ABC):
    """T(a_0, a_1, …), linear in each argument, given by its partial derivatives."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """Of the products that :meth:`plain` makes: edges or pairs. The arguments may be much smaller than these."""

    @abstractmethod
    def partial(self, k: int, *others: Tensor) -> Tensor:
        """∂T/∂a_k, shaped like a_k, from the other arguments in order. Need not be differentiable."""

    @abstractmethod
    def plain(self, k: int, *others: Tensor) -> Tensor:
        """The same in plain operations that torch differentiates, for recorded graphs and for few numbers."""

    def __call__(self, *others: Tensor) -> Tensor:
        """∂T/∂a_0, differentiable any number of times."""
        return self.partial_of(0, *others)

    def partial_of(self, k: int, *others: Tensor) -> Tensor:
        """∂T/∂a_k, differentiable any number of times, in the widest dtype of the arguments."""
        dtype = reduce(torch.promote_types, (x.dtype for x in others))  # under autocast they differ
        others = tuple(x.to(dtype) for x in others)
        if is_traced() or self.rows * max(x.shape[-1] for x in others) <= _FEW:
            return self.plain(k, *others)
        return _Partial.apply(self, k, *others)


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


def leads_on(ctx: Any, position: int) -> bool:
    """Whether this backward pass goes on into a tensor argument: ``autograd.grad`` for forces leaves weights alone.

    ``needs_input_grad`` says only that some pass might. Where the engine, asked privately, does not say: yes.
    """
    try:
        return torch._C._will_engine_execute_node(ctx.next_functions[position][0])
    except (AttributeError, RuntimeError):
        return True
