"""The interaction layer: tensor-product convolution, self-connection, gate (Batzner et al. 2022, Fig. 1 and eqs. 4-8).

Features are one tensor (N, 2l + 1, channels) per irrep: channels last, so that linear maps are matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from zoo.nn import silu

from .convolution import Convolution, Features
from .gate import Gate, Moments
from .irreps import Group, Irrep, Multiplicities, paths
from .neighbors import Neighbors
from .norm import RMSNorm

__all__ = ["InteractionLayer", "IrrepLinear", "LayerOptions", "RadialNetwork", "SelfConnection"]


class IrrepLinear(nn.Module):
    """Mixes the channels of each irrep on its own; of an irrep on one side only, nothing comes out.

    Weights are unit normal, scaled by fan-in^(−1/2). ``bias`` adds a constant to the even scalars.
    """

    def __init__(self, irreps_in: Multiplicities, irreps_out: Multiplicities, *, bias: bool = False) -> None:
        super().__init__()
        self.weights = nn.ParameterDict(
            {str(irrep): torch.randn(irreps_in[irrep], irreps_out[irrep]) for irrep in irreps_out if irrep in irreps_in}
        )
        self.bias = nn.Parameter(torch.zeros(irreps_out[Irrep(0, 1)])) if bias else None

    def forward(self, features: Features) -> Features:
        out = {}
        for irrep, x in features.items():
            if str(irrep) not in self.weights:
                continue
            weight = self.weights[str(irrep)]
            out[irrep] = x @ (weight * weight.shape[0] ** -0.5)
            if self.bias is not None and irrep == Irrep(0, 1):
                out[irrep] = out[irrep] + self.bias
        return out


class SelfConnection(nn.Module):
    """Linear map of each irrep whose matrix depends linearly on the atom's attributes (N, A): e3nn's fully connected
    tensor product with scalars. With one-hot attributes, a matrix per element."""

    def __init__(self, num_attributes: int, irreps_in: Multiplicities, irreps_out: Multiplicities) -> None:
        super().__init__()
        self.weights = nn.ParameterDict(
            {
                str(irrep): torch.randn(num_attributes, irreps_in[irrep], irreps_out[irrep])
                for irrep in irreps_out
                if irrep in irreps_in
            }
        )

    def forward(self, features: Features, attributes: Tensor) -> Features:
        out = {}
        for irrep, x in features.items():
            if str(irrep) not in self.weights:
                continue
            weight = self.weights[str(irrep)].flatten(0, 1)
            outer = (attributes[:, None, :, None] * x[:, :, None, :]).flatten(2)
            out[irrep] = outer @ (weight * weight.shape[0] ** -0.5)
        return out


class RadialNetwork(nn.Module):
    """SiLU network without biases from the radial basis to one weight per path and channel (eq. 5)."""

    def __init__(self, num_in: int, width: int, depth: int, num_out: int) -> None:
        super().__init__()
        widths = [num_in] + [width] * depth + [num_out]
        self.weights = nn.ParameterList(
            [torch.empty(n_in, n_out).uniform_(-(3**0.5), 3**0.5) for n_in, n_out in pairwise(widths)]
        )

    def forward(self, radial: Tensor, scale: Tensor) -> Tensor:
        """(P, num_in) and a scalar factor of the output → (P, num_out)."""
        x = radial
        last = len(self.weights) - 1
        for k, weight in enumerate(self.weights):
            if k > 0:
                x = silu(x)
            # Gain sqrt(2) after an activation, as for a rectifier.
            weight = weight * ((2.0 if k > 0 else 1.0) / weight.shape[0]) ** 0.5
            x = x @ (weight * scale if k == last else weight)
        return x


@dataclass(frozen=True, kw_only=True)
class LayerOptions:
    """What all layers of a model share.

    Attributes:
        lmax: highest degree of features and harmonics.
        num_bessel, radial_width, radial_depth: sizes of the radial network.
        num_attributes: width of the atoms' attributes, for self-connections by element.
        group: whose irreps the features are.
        self_connection: a matrix per element (the paper), or one for all.
        scalar_bias: a constant added to the even scalars by both linear maps around the convolution.
        rms_norm: normalise the features before the gate.
        activation_moments: see :class:`.gate.Gate`.
    """

    lmax: int
    num_bessel: int
    radial_width: int
    radial_depth: int
    num_attributes: int
    group: Group = "O3"
    self_connection: Literal["element", "linear"] = "element"
    scalar_bias: bool = False
    rms_norm: bool = False
    activation_moments: Moments = "samples"


class InteractionLayer(nn.Module):
    """Linear, convolution, linear, plus self-connection, then gate: features of one layer to those of the next."""

    def __init__(
        self, irreps_in: Multiplicities, irreps_out: Multiplicities, options: LayerOptions, *, self_connection: bool
    ) -> None:
        super().__init__()
        self.gate = Gate(irreps_out, options.activation_moments)
        before_gate, lmax, group, bias = self.gate.irreps_in, options.lmax, options.group, options.scalar_bias
        used = {path.source: irreps_in[path.source] for path in paths(irreps_in, before_gate, lmax, group)}
        self.linear_up = IrrepLinear(used, used, bias=bias)
        self.convolution = Convolution(used, before_gate, lmax, group)
        self.radial = RadialNetwork(
            options.num_bessel, options.radial_width, options.radial_depth, self.convolution.num_weights
        )
        self.linear_down = IrrepLinear(self.convolution.irreps_mid, before_gate, bias=bias)
        self.self_connection: SelfConnection | IrrepLinear | None = None
        if self_connection and options.self_connection == "linear":
            self.self_connection = IrrepLinear(irreps_in, before_gate)
        elif self_connection:
            self.self_connection = SelfConnection(options.num_attributes, irreps_in, before_gate)
        self.norm = RMSNorm(before_gate) if options.rms_norm else None

    def forward(self, features: Features, attributes: Tensor, neighbors: Neighbors, scale: Tensor) -> Features:
        weights = self.radial(neighbors.radial, scale)
        out = self.linear_down(self.convolution(self.linear_up(features), weights, neighbors))
        if self.self_connection is not None:
            for irrep, x in self._connect(features, attributes).items():
                out[irrep] = out[irrep] + x
        if self.norm is not None:
            out = self.norm(out)
        return self.gate(out)

    def _connect(self, features: Features, attributes: Tensor) -> Features:
        if isinstance(self.self_connection, SelfConnection):
            return self.self_connection(features, attributes)
        return self.self_connection(features)
