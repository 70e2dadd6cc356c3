"""Activation functions by name."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.nn.fused.silu import FusedSiLU
from zoo.nn.fused.softplus import FusedShiftedSoftplus

__all__ = [
    "ScaledSiLU",
    "ShiftedSoftplus",
    "SiLU",
    "activation",
    "shifted_softplus",
    "silu",
]

_SILU = FusedSiLU()
_SHIFTED_SOFTPLUS = FusedShiftedSoftplus()


def silu(x: Tensor, *, scale: float = 1.0) -> Tensor:
    """scale · x σ(x), cheap to differentiate twice."""
    return _SILU(x, scale)


class SiLU(nn.Module):
    """Module form of :func:`silu`."""

    def forward(self, x: Tensor) -> Tensor:
        return silu(x)


def shifted_softplus(x: Tensor) -> Tensor:
    """ln(½eˣ + ½), zero at zero and smooth to any order (Schütt et al. 2017, §4.2)."""
    return _SHIFTED_SOFTPLUS(x)


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
        raise ZooError(f"unknown activation '{name}'. Fix: use one of {', '.join(sorted(_ACTIVATIONS))}")
    return _ACTIVATIONS[name]()
