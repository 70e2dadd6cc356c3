"""Activation functions by name."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError

__all__ = ["ScaledSiLU", "ShiftedSoftplus", "activation", "shifted_softplus"]


class _ShiftedSoftplus(torch.autograd.Function):
    """Keeps only x, and takes σ(x) as derivative: torch's own softplus differentiates twice in many more passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        is_eager_on_cpu = x.device.type == "cpu" and x.numel() and not torch.compiler.is_compiling()
        if is_eager_on_cpu and float(x.amax()) < 80:  # eˣ is far from overflow
            # Three vectorised passes, in half the time of torch's softplus.
            exp = torch.exp(x)
            return torch.add(exp.new_tensor(0.5), exp, alpha=0.5, out=exp).log_()
        return F.softplus(x).sub_(math.log(2.0))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * torch.sigmoid(x)


def shifted_softplus(x: Tensor) -> Tensor:
    """ln(½eˣ + ½), zero at zero and smooth to any order (Schütt et al. 2017, §4.2)."""
    return _ShiftedSoftplus.apply(x)


class ShiftedSoftplus(nn.Module):
    """Module form of :func:`shifted_softplus`."""

    def forward(self, x: Tensor) -> Tensor:
        return shifted_softplus(x)


class ScaledSiLU(nn.Module):
    """SiLU(x) / 0.6, which keeps the variance of a standard normal input (Gasteiger et al. 2021, §5)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x) * (1 / 0.6)


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "scaled_silu": ScaledSiLU,
    "ssp": ShiftedSoftplus,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


def activation(name: str) -> nn.Module:
    """A new activation module: "silu", "scaled_silu", "ssp", "softplus", "tanh", "relu", "gelu", "sigmoid", "identity".

    Raises:
        ZooError: unknown name.
    """
    if name not in _ACTIVATIONS:
        raise ZooError(f"unknown activation '{name}': use one of {', '.join(sorted(_ACTIVATIONS))}")
    return _ACTIVATIONS[name]()
