"""The gate after each layer: activations of scalars, and even scalars that multiply the other irreps."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import nn

from zoo.nn import silu
from zoo.plugin import ZooError

from .convolution import Features
from .irreps import Irrep, Multiplicities

__all__ = ["Gate", "Moments"]

Moments = Literal["samples", "quantiles"]


class _Scales(NamedTuple):
    """Factors E[f²]^(−1/2) that give an activation of a standard normal variable unit second moment."""

    silu: float
    tanh: float


# Two packages take that mean in two ways; their values, parts in 10⁵ to 10³ off the integral, are part of the
# published models and so of the architecture: e3nn from a million samples, e3nn-jax at 1,000,001 quantiles.
_SCALES = {
    "samples": _Scales(1.6791767923989418, 1.5937334472592695),
    "quantiles": _Scales(1.6765620560798837, 1.5925386426301726),
}


class Gate(nn.Module):
    """Even scalars pass SiLU and odd ones tanh; every other irrep is multiplied by SiLU of an even scalar made for it.

    Args:
        irreps_out: what comes out.
        moments: how the second moment of the activations was found, by which they are divided.

    Attributes:
        irreps_in: what it takes: the even scalars hold the layer's own first, then one gate per channel of each irrep.

    Raises:
        ZooError: unknown ``moments``.
    """

    def __init__(self, irreps_out: Multiplicities, moments: Moments = "samples") -> None:
        super().__init__()
        if moments not in _SCALES:
            raise ZooError(f"activation_moments = {moments!r} is unknown. Fix: use one of {', '.join(_SCALES)}")
        scalar = Irrep(0, 1)
        self.scales = _SCALES[moments]
        self.irreps_out = irreps_out
        self.gates = {irrep: mul for irrep, mul in irreps_out.items() if irrep.l > 0}
        self.irreps_in = {scalar: 0} | irreps_out
        self.irreps_in[scalar] += sum(self.gates.values())

    def forward(self, features: Features) -> Features:
        scalar = Irrep(0, 1)
        even = silu(features[scalar], scale=self.scales.silu)
        plain = self.irreps_out.get(scalar, 0)
        columns = even.split([plain, *self.gates.values()], 2)
        gated = {}
        for irrep in self.irreps_out:
            if irrep == scalar:
                gated[irrep] = columns[0]
            elif irrep.l == 0:
                gated[irrep] = torch.tanh(features[irrep]) * self.scales.tanh
            else:
                gated[irrep] = features[irrep] * columns[1 + list(self.gates).index(irrep)]
        return gated
