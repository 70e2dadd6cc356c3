"""The interaction layer: tensor-product convolution, self-connection, gate (Batzner et al. 2022, Fig. 1 and eqs. 4-8).

Features are one tensor (N, 2l + 1, channels) per irrep: channels last, so that linear maps are matrix products.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from zoo.nn import silu

from .convolution import Convolution, Features
from .irreps import Irrep, Multiplicities, paths
from .neighbors import Neighbors

__all__ = ["InteractionLayer", "IrrepLinear", "RadialNetwork", "SelfConnection"]

# Second moments of the activations under a standard normal, E[f²]^(−1/2). e3nn samples them (a million points); its
# values, a few parts in 10³ off the integrals, are part of the published models and so of the architecture.
_SILU_SCALE = 1.6791767923989418
_TANH_SCALE = 1.5937334472592695


class IrrepLinear(nn.Module):
    """Mixes the channels of each irrep on its own. No bias; weights are unit normal, scaled by fan-in^(−1/2)."""

    def __init__(self, irreps_in: Multiplicities, irreps_out: Multiplicities) -> None:
        super().__init__()
        self.weights = nn.ParameterDict(
            {str(irrep): torch.randn(irreps_in[irrep], irreps_out[irrep]) for irrep in irreps_out if irrep in irreps_in}
        )

    def forward(self, features: Features) -> Features:
        out = {}
        for irrep, x in features.items():
            weight = self.weights[str(irrep)]
            out[irrep] = x @ (weight * weight.shape[0] ** -0.5)
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


class InteractionLayer(nn.Module):
    """Linear, convolution, linear, plus self-connection, then gate: features of one layer to those of the next.

    Even scalars pass SiLU and odd ones tanh; every other irrep is multiplied by SiLU of an even scalar made for it.
    """

    def __init__(
        self,
        irreps_in: Multiplicities,
        irreps_out: Multiplicities,
        *,
        lmax: int,
        num_bessel: int,
        radial_width: int,
        radial_depth: int,
        num_attributes: int,
        self_connection: bool,
    ) -> None:
        super().__init__()
        self.irreps_out = irreps_out
        scalar = Irrep(0, 1)
        self.gates = {irrep: mul for irrep, mul in irreps_out.items() if irrep.l > 0}
        before_gate = {scalar: 0} | irreps_out
        before_gate[scalar] += sum(self.gates.values())
        used = {path.source: irreps_in[path.source] for path in paths(irreps_in, before_gate, lmax)}
        self.linear_up = IrrepLinear(used, used)
        self.convolution = Convolution(used, before_gate, lmax)
        self.radial = RadialNetwork(num_bessel, radial_width, radial_depth, self.convolution.num_weights)
        self.linear_down = IrrepLinear(self.convolution.irreps_mid, before_gate)
        self.self_connection = SelfConnection(num_attributes, irreps_in, before_gate) if self_connection else None

    def forward(self, features: Features, attributes: Tensor, neighbors: Neighbors, scale: Tensor) -> Features:
        weights = self.radial(neighbors.radial, scale)
        out = self.linear_down(self.convolution(self.linear_up(features), weights, neighbors))
        if self.self_connection is not None:
            for irrep, x in self.self_connection(features, attributes).items():
                out[irrep] = out[irrep] + x
        return self._gate(out)

    def _gate(self, features: Features) -> Features:
        scalar = Irrep(0, 1)
        even = silu(features[scalar], scale=_SILU_SCALE)
        plain = self.irreps_out.get(scalar, 0)
        columns = even.split([plain, *self.gates.values()], 2)
        gated = {}
        for irrep in self.irreps_out:
            if irrep == scalar:
                gated[irrep] = columns[0]
            elif irrep.l == 0:
                gated[irrep] = torch.tanh(features[irrep]) * _TANH_SCALE
            else:
                gated[irrep] = features[irrep] * columns[1 + list(self.gates).index(irrep)]
        return gated
