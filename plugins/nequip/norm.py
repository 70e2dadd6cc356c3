"""Root-mean-square norm over all irreps of an atom (Koker et al. 2025; Liao et al. 2024, "separable layer norm")."""

from __future__ import annotations

import torch
from torch import nn

from .convolution import Features
from .irreps import Multiplicities

__all__ = ["RMSNorm"]


class RMSNorm(nn.Module):
    """Divides all features of an atom by one number, then scales each channel.

    The square of that number is the mean over the irreps of Σ_channels Σ_m x² / (2l + 1)²: a sum over channels, not a
    mean, as the published models have it. Invariant, so that equivariance stays.
    """

    eps = 1e-12

    def __init__(self, irreps: Multiplicities) -> None:
        super().__init__()
        self.weights = nn.ParameterDict({str(irrep): torch.ones(mul) for irrep, mul in irreps.items()})

    def forward(self, features: Features) -> Features:
        squares = sum(x.square().sum((1, 2)) / irrep.dim**2 for irrep, x in features.items())
        scale = (squares / len(features) + self.eps).rsqrt()[:, None, None]
        return {irrep: x * scale * self.weights[str(irrep)] for irrep, x in features.items()}
