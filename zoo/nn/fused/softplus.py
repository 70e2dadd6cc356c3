"""Shifted softplus that keeps only its argument."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.nn.fused import thresholds
from zoo.nn.fused.operation import FusedOperation

__all__ = ["FusedShiftedSoftplus"]

_EXACT = 40.0
"""From here on softplus(x) is x in float64; at torch's own 20 it would jump by 2e-9."""


class FusedShiftedSoftplus(FusedOperation):
    """ln(½eˣ + ½) of x."""

    use = thresholds.SHIFTED_SOFTPLUS

    def numbers(self, x: Tensor) -> int:
        return x.numel()

    def plain(self, x: Tensor) -> Tensor:
        return F.softplus(x, threshold=_EXACT) - math.log(2.0)

    def fused(self, x: Tensor) -> Tensor:
        return _SoftplusFunction.apply(x)


class _SoftplusFunction(torch.autograd.Function):
    """Takes σ(x) as derivative: torch's own softplus differentiates twice in many more passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        if x.device.type == "cpu" and x.numel() and float(x.amax()) < 80:  # eˣ is far from overflow
            # Three vectorised passes, in half the time of torch's softplus.
            exp = torch.exp(x)
            return torch.add(exp.new_tensor(0.5), exp, alpha=0.5, out=exp).log_()
        return F.softplus(x, threshold=_EXACT).sub_(math.log(2.0))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * torch.sigmoid(x)
