"""SiLU that keeps only its argument, cheap to differentiate twice."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.nn.fused import thresholds
from zoo.nn.fused.operation import FusedOperation
from zoo.nn.fused.torch_kernels import silu_slope

__all__ = ["FusedSiLU"]


class _SiLUFunction(torch.autograd.Function):
    """Keeps only x. torch's own SiLU differentiates twice through a chain of a dozen products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.scale = scale
        y = F.silu(x)
        return y if scale == 1 else y.mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _Slope.apply(grad, *ctx.saved_tensors, ctx.scale), None


class _Slope(torch.autograd.Function):
    """grad · scale · SiLU′(x), with SiLU″ = σ (1 − σ) (2 + x − 2xσ)."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(grad, x)
        ctx.scale = scale
        y = silu_slope(grad, x)
        return y if scale == 1 else y.mul_(scale)

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grad, x = ctx.saved_tensors
        by_grad = _Slope.apply(second, x, ctx.scale) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return by_grad, None, None
        sigmoid = torch.sigmoid(x)
        if torch.is_grad_enabled():
            bend = sigmoid * (1 - sigmoid) * (2 + x - 2 * x * sigmoid)
            return by_grad, second * grad * bend * ctx.scale, None
        product = (second * grad).mul_(sigmoid).mul_(1 - sigmoid)
        return by_grad, product.mul_(torch.addcmul(x, x, sigmoid, value=-2).add_(2).mul_(ctx.scale)), None


class FusedSiLU(FusedOperation):
    """scale · x σ(x) of (x, scale)."""

    use = thresholds.ACTIVATION

    def numbers(self, x: Tensor, scale: float) -> int:
        return x.numel()

    def plain(self, x: Tensor, scale: float) -> Tensor:
        return F.silu(x) if scale == 1 else F.silu(x) * scale

    def fused(self, x: Tensor, scale: float) -> Tensor:
        return _SiLUFunction.apply(x, scale)
