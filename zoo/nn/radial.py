"""Radial bases and cut-off functions of an interatomic distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["BesselBasis", "CosineCutoff", "GaussianBasis", "PolynomialEnvelope"]


class GaussianBasis(nn.Module):
    """exp(−(d − μ_n)² / 2δ²) on ``num`` evenly spaced centres μ_n whose spacing is δ (Schütt et al. 2017, §4.2).

    Maps (E,) distances in Å to (E, num).
    """

    centres: Tensor

    def __init__(self, num: int, cutoff: float, *, start: float = 0.0) -> None:
        super().__init__()
        centres = torch.linspace(start, cutoff, num, dtype=torch.float64)
        spacing = (cutoff - start) / max(num - 1, 1)
        self.coefficient = -0.5 / spacing**2
        self.register_buffer("centres", centres.to(torch.get_default_dtype()), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        return torch.exp(self.coefficient * (distance[:, None] - self.centres).square())


class BesselBasis(nn.Module):
    """scale · sin(nπd/c) / d for n = 1 … ``num``, without an envelope (Gasteiger et al. 2020, eq. 7).

    Maps (E,) distances in Å, none of them zero, to (E, num). ``scale = sqrt(2 / c)`` makes the basis orthonormal,
    PaiNN uses 1 and NequIP 2/c. ``trainable`` makes the frequencies n π/c parameters.
    """

    def __init__(self, num: int, cutoff: float, *, scale: float = 1.0, trainable: bool = False) -> None:
        super().__init__()
        self.scale = scale
        frequencies = torch.arange(1, num + 1, dtype=torch.float64) * math.pi / cutoff
        frequencies = frequencies.to(torch.get_default_dtype())
        if trainable:
            self.frequencies = nn.Parameter(frequencies)
        else:
            self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        return torch.sin(distance[:, None] * self.frequencies) * (self.scale / distance)[:, None]


class CosineCutoff(nn.Module):
    """(cos(πd/c) + 1) / 2 below the cut-off c and 0 beyond it (Behler 2011, eq. 4). Maps (E,) to (E,)."""

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff

    def forward(self, distance: Tensor) -> Tensor:
        # Clamping, unlike masking, costs one pass and leaves value and gradient zero beyond the cut-off.
        inside = distance.clamp(max=self.cutoff)
        return 0.5 * torch.cos(inside * (math.pi / self.cutoff)) + 0.5


class PolynomialEnvelope(nn.Module):
    """u(x) = 1 − (p+1)(p+2)/2 xᵖ + p(p+2) xᵖ⁺¹ − p(p+1)/2 xᵖ⁺², x = d/c (Gasteiger et al. 2020, eq. 8).

    Value, first and second derivative vanish at the cut-off c; 0 beyond it. Maps (E,) to (E,).
    """

    def __init__(self, cutoff: float, *, p: int = 6) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.p = p

    def forward(self, distance: Tensor) -> Tensor:
        p = self.p
        x = (distance / self.cutoff).clamp(max=1.0)
        return 1.0 + x.pow(p) * (-(p + 1) * (p + 2) / 2 + x * (p * (p + 2) - x * (p * (p + 1) / 2)))
