"""Layers of GemNet: dense and residual layers, scaling factors, the efficient bilinear layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn import blockwise, silu

INV_SQRT_2 = 1 / math.sqrt(2)
INV_SQRT_3 = 1 / math.sqrt(3)


def he_orthogonal_(weight: Tensor) -> Tensor:
    """Orthogonal weights, then each output standardised and scaled by 1/√fan_in (reference code; He variance).

    For a three-dimensional weight the last axis is the output.
    """
    nn.init.orthogonal_(weight)
    inputs = [0, 1] if weight.dim() == 3 else [1]
    fan_in = math.prod(weight.shape[d] for d in inputs)
    with torch.no_grad():
        if fan_in > 1:
            variance, mean = torch.var_mean(weight, dim=inputs, keepdim=True)
            weight.sub_(mean).div_((variance + 1e-6).sqrt())
        weight.mul_(fan_in**-0.5)
    return weight


class Dense(nn.Linear):
    """A linear layer without bias, followed by SiLU/0.6 when ``activate``."""

    def __init__(self, n_in: int, n_out: int, *, activate: bool = False) -> None:
        super().__init__(n_in, n_out, bias=False)
        self.activate = activate

    def reset_parameters(self) -> None:
        he_orthogonal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight)
        return silu(x, scale=1 / 0.6) if self.activate else x


class Residual(nn.Module):
    """(x + σ(W σ(W x))) / √2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Dense(width, width, activate=True)
        self.second = Dense(width, width, activate=True)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.second(self.first(x))) * INV_SQRT_2


def residuals(width: int, num: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(width) for _ in range(num)))


class Scale(nn.Module):
    """A factor fitted once so that the variance of x equals that of a reference (paper, §6)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones(()))
        self.fitting = False

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        if self.fitting:
            self._fit(x, reference)
        return x * self.factor

    @torch.no_grad()
    def _fit(self, x: Tensor, reference: Tensor) -> None:
        if min(x.shape[0], reference.shape[0]) < 2:
            return
        ratio = reference.var(dim=0).mean() / x.var(dim=0).mean()
        if torch.isfinite(ratio) and ratio > 0:
            self.factor.copy_(ratio.sqrt())


class BasisProjection(nn.Module):
    """Radial half of a basis times its down-projection: Σ_n R_ln(d) W_lni, (rows, L, R) → (rows, I, L)."""

    def __init__(self, degrees: int, num_radial: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(he_orthogonal_(torch.empty(degrees, num_radial, width)))

    def forward(self, radial: Tensor) -> Tensor:
        return torch.bmm(radial.transpose(0, 1), self.weight).permute(1, 2, 0)


class EfficientBilinear(nn.Module):
    """Σ_i Σ_c (B S)_ic W_ico: the bilinear layer after the sum over neighbours (paper, eq. 10).

    Maps B (rows, I, L), the projected radial basis, and S (rows, L, C), the messages summed with the angular basis, to
    (rows, O).
    """

    def __init__(self, channels: int, basis: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(he_orthogonal_(torch.empty(channels, basis, n_out)))

    def forward(self, basis: Tensor, sums: Tensor) -> Tensor:
        weight = self.weight.transpose(0, 1).flatten(0, 1)
        return blockwise(lambda b, s: torch.bmm(b, s).flatten(1) @ weight, basis, sums, width=weight.shape[0])
