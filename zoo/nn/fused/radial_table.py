"""Functions of the distance, evaluated on a grid and interpolated."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from zoo.nn.fused.outer_sum import RowSum

__all__ = ["RadialTable", "in_double"]

# Uniform quintic B-splines: coefficients of 1, t … t⁵ (rows) in the six that are not zero on an interval (columns).
_B_SPLINE = (
    (1, 26, 66, 26, 1, 0),
    (-5, -50, 0, 50, 5, 0),
    (10, 20, -60, 20, 10, 0),
    (-10, 20, 0, -20, 10, 0),
    (5, -20, 30, -20, 5, 0),
    (-1, 5, -10, 10, -5, 1),
)
_REACH = 4
"""Nodes wanted beyond either end: two for the splines that overlap the range, two for the coefficients of those."""


class RadialTable(nn.Module):
    """Networks of the distance at the cost of a few hundred evaluations, however many pairs there are.

    Values f on a grid of spacing h become coefficients of quintic B-splines, c = f − δ²f/4 + 13 δ⁴f/240, with δ² the
    second difference: a quasi-interpolant that reproduces quintics. Its error falls as h⁶, and it has four continuous
    derivatives, so that forces are exact derivatives of the interpolated energy (de Boor, A Practical Guide to Splines,
    ch. XII). The networks run in float64 whatever the model's dtype: derivatives divide their rounding by h.

    Args:
        num_intervals: of the range 0 … ``cutoff`` (Å).
    """

    spline: Tensor

    def __init__(self, num_intervals: int, cutoff: float) -> None:
        super().__init__()
        self.num_intervals = num_intervals
        self.cutoff = cutoff
        spline = torch.tensor(_B_SPLINE, dtype=torch.float64) / 120
        self.register_buffer("spline", spline.to(torch.get_default_dtype()), persistent=False)

    @property
    def num_nodes(self) -> int:
        return self.num_intervals + 2 * _REACH + 1

    def nodes(self) -> Tensor:
        """(num_nodes,) distances at which values are wanted, float64."""
        steps = torch.arange(self.num_nodes, dtype=torch.float64, device=self.spline.device) - _REACH
        return steps * (self.cutoff / self.num_intervals)

    def forward(self, distance: Tensor, factor: Tensor) -> RadialLookup:
        """Prepares reading at (P,) distances; what is read is multiplied by ``factor`` (P,)."""
        position = distance * (self.num_intervals / self.cutoff)
        interval = position.detach().floor().clamp(0, self.num_intervals - 1)
        t = (position - interval)[:, None]
        t2 = t * t
        powers = torch.cat([torch.ones_like(t), t, t2, t2 * t, t2 * t2, t2 * t2 * t], 1)
        return RadialLookup(interval.long(), self.num_intervals, powers @ self.spline * factor[:, None])


class RadialLookup:
    """Reads functions of the distance, known at the nodes of a :class:`RadialTable`, at P distances."""

    def __init__(self, interval: Tensor, num_intervals: int, weights: Tensor) -> None:
        self.rows = RowSum(interval, num_intervals, len(_B_SPLINE), is_sorted=False, overlapping=True)
        self.weights = weights

    def __call__(self, values: Tensor) -> Tensor:
        """(num_nodes, C) values → (P, C)."""
        return self.read(self.coefficients(values))

    def read(self, coefficients: Tensor) -> Tensor:
        """(P, C) from :meth:`coefficients`."""
        return self.rows(coefficients, self.weights)

    def coefficients(self, values: Tensor) -> Tensor:
        """(num_nodes, C) values → coefficients of the splines, in the model's dtype."""
        near, far = values[1:-3] + values[3:-1], values[:-4] + values[4:]
        coefficients = values[2:-2] * (1 + 1 / 2 + 13 / 40) - near * (1 / 4 + 13 / 60) + far * (13 / 240)
        return coefficients.to(self.weights.dtype)


def in_double(network: nn.Module, x: Tensor) -> Tensor:
    """``network(x)`` with its parameters in float64."""
    return functional_call(network, {name: p.double() for name, p in network.named_parameters()}, (x,))
