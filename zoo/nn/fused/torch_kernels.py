"""Parts of torch that its public interface does not offer, each with a fallback for versions that lack it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["leads_on", "row_products", "row_products_fallback", "silu_slope", "silu_slope_fallback"]

_SILU_SLOPE = getattr(torch.ops.aten, "silu_backward", None)
_ROW_PRODUCTS = getattr(torch.ops.aten, "_embedding_bag_per_sample_weights_backward", None)


def leads_on(ctx: Any, position: int) -> bool:
    """Whether this backward pass needs the gradient of an argument; ``autograd.grad`` for forces needs none of weights.

    ``needs_input_grad`` is true if any pass might. Fallback where the engine does not answer: True.
    """
    try:
        return torch._C._will_engine_execute_node(ctx.next_functions[position][0])
    except (AttributeError, RuntimeError):
        return True


def row_products(table: Tensor, m: Tensor, rows: Tensor) -> Tensor:
    """(e, K) products of each row of ``m`` (e, C) with the K rows of ``table`` that ``rows`` (e, K) lists.

    This is how ``embedding_bag`` differentiates by its weights; it writes out no gathered rows. Not differentiable.
    """
    if _ROW_PRODUCTS is None:
        return row_products_fallback(table, m, rows)
    count, K = torch.arange(m.shape[0], device=m.device), rows.shape[1]
    owners = count.repeat_interleave(K)
    return _ROW_PRODUCTS(m.contiguous(), table, rows.flatten(), count * K, owners, 0, -1).view(-1, K)


def row_products_fallback(table: Tensor, m: Tensor, rows: Tensor) -> Tensor:
    """The same with the gathered rows written out."""
    return (table.index_select(0, rows.flatten()).unflatten(0, rows.shape) * m[:, None]).sum(2)


def silu_slope(grad: Tensor, x: Tensor) -> Tensor:
    """grad · SiLU′(x) in one pass, in new memory. Not differentiable."""
    return silu_slope_fallback(grad, x) if _SILU_SLOPE is None else _SILU_SLOPE(grad, x)


def silu_slope_fallback(grad: Tensor, x: Tensor) -> Tensor:
    """The same in several passes."""
    sigmoid = torch.sigmoid(x)
    return grad * (sigmoid * (1 + x * (1 - sigmoid)))
