"""Activation functions by name."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.graph.tracing import is_traced

__all__ = [
    "ScaledSiLU",
    "ShiftedSoftplus",
    "SiLU",
    "activation",
    "add_scratch",
    "mul_scratch",
    "shifted_softplus",
    "silu",
]

_FEW = 16_384
"""For so few numbers torch's own functions are quicker than better ones that are called from Python."""
_FEW_SSP = 4 * _FEW
"""Shifted softplus: filters of a small molecule's pairs are rows too."""
_EXACT = 40.0
"""From here on softplus(x) is x in float64; at torch's own 20 it would jump by 2e-9."""


class _SiLU(torch.autograd.Function):
    """Keeps only x. torch's own SiLU differentiates twice through a chain of a dozen products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.scale = scale
        y = F.silu(x)
        return y if scale == 1 else y.mul_(scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _SiLUSlope.apply(grad, *ctx.saved_tensors, ctx.scale), None


class _SiLUSlope(torch.autograd.Function):
    """grad · scale · SiLU′(x), with SiLU″ = σ (1 − σ) (2 + x − 2xσ)."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(grad, x)
        ctx.scale = scale
        y = torch.ops.aten.silu_backward(grad, x)
        return y if scale == 1 else y.mul_(scale)

    @staticmethod
    def backward(ctx: Any, second: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grad, x = ctx.saved_tensors
        by_grad = _SiLUSlope.apply(second, x, ctx.scale) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return by_grad, None, None
        sigmoid = torch.sigmoid(x)
        if torch.is_grad_enabled():
            bend = sigmoid * (1 - sigmoid) * (2 + x - 2 * x * sigmoid)
            return by_grad, second * grad * bend * ctx.scale, None
        product = torch.ops.aten.sigmoid_backward(second * grad, sigmoid)
        return by_grad, product.mul_(torch.addcmul(x, x, sigmoid, value=-2).add_(2).mul_(ctx.scale)), None


def silu(x: Tensor, *, scale: float = 1.0, scratch: bool = False) -> Tensor:
    """scale · x σ(x), cheap to differentiate twice. ``scratch``: nothing else needs x, its memory may be reused."""
    if scratch and not torch.is_grad_enabled() and not is_traced():
        y = F.silu(x, inplace=True)
        return y if scale == 1 else y.mul_(scale)
    if is_traced() or x.numel() <= _FEW:
        return F.silu(x) if scale == 1 else F.silu(x) * scale
    return _SiLU.apply(x, scale)


def add_scratch(x: Tensor, scratch: Tensor) -> Tensor:
    """x + scratch, in the memory of ``scratch``, as large as the result, where no gradient needs it."""
    return scratch.add_(x) if _may_overwrite(scratch, x) else x + scratch


def mul_scratch(scratch: Tensor, x: Tensor) -> Tensor:
    """scratch ∘ x, in the memory of ``scratch``, as large as the result, where no gradient needs it."""
    return scratch.mul_(x) if _may_overwrite(scratch, x) else scratch * x


def _may_overwrite(scratch: Tensor, x: Tensor) -> bool:
    # Under autocast the two differ, and the result has the wider dtype.
    return scratch.dtype == x.dtype and not torch.is_grad_enabled() and not is_traced()


class SiLU(nn.Module):
    """Module form of :func:`silu`."""

    def forward(self, x: Tensor) -> Tensor:
        return silu(x)


class _ShiftedSoftplus(torch.autograd.Function):
    """Keeps only x, and takes σ(x) as derivative: torch's own softplus differentiates twice in many more passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        if x.device.type == "cpu" and float(x.amax()) < 80:  # eˣ is far from overflow
            # Three vectorised passes, in half the time of torch's softplus.
            exp = torch.exp(x)
            return torch.add(exp.new_tensor(0.5), exp, alpha=0.5, out=exp).log_()
        return F.softplus(x, threshold=_EXACT).sub_(math.log(2.0))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * torch.sigmoid(x)


def shifted_softplus(x: Tensor) -> Tensor:
    """ln(½eˣ + ½), zero at zero and smooth to any order (Schütt et al. 2017, §4.2)."""
    if is_traced() or x.numel() <= _FEW_SSP:
        return F.softplus(x, threshold=_EXACT) - math.log(2.0)
    return _ShiftedSoftplus.apply(x)


class ShiftedSoftplus(nn.Module):
    """Module form of :func:`shifted_softplus`."""

    def forward(self, x: Tensor) -> Tensor:
        return shifted_softplus(x)


class ScaledSiLU(nn.Module):
    """SiLU(x) / 0.6, which keeps the variance of a standard normal input (Gasteiger et al. 2021, §5)."""

    def forward(self, x: Tensor) -> Tensor:
        return silu(x, scale=1 / 0.6)


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": SiLU,
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
