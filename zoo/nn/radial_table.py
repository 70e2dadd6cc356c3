"""Functions of the distance, evaluated on a grid and interpolated."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.nn.outer_sum import OuterSum

__all__ = ["RadialTable"]

# Uniform cubic B-splines: coefficients of 1, t, t², t³ (rows) in the four that are not zero on an interval (columns).
_B_SPLINE = ((1, 4, 1, 0), (-3, 0, 3, 0), (3, -6, 3, 0), (-1, 3, -3, 1))


class RadialTable(nn.Module):
    """Networks of the distance at the cost of a few hundred evaluations, however many pairs there are.

    Values f(r) on a grid of spacing h become the coefficients c_i = (8 f_i − f_{i−1} − f_{i+1}) / 6 of cubic B-splines,
    a quasi-interpolant that reproduces cubics: its error falls as h⁴, and it has two continuous derivatives, so that
    forces are exact derivatives of the interpolated energy (de Boor, A Practical Guide to Splines, ch. XII).

    Args:
        num_intervals: of the range 0 … ``cutoff`` (Å).

    Attributes:
        nodes: (num_intervals + 5,) distances at which the values are wanted, two of them beyond either end.
    """

    def __init__(self, num_intervals: int, cutoff: float) -> None:
        super().__init__()
        self.num_intervals = num_intervals
        self.cutoff = cutoff
        nodes = torch.arange(-2, num_intervals + 3, dtype=torch.float64) * (cutoff / num_intervals)
        self.register_buffer("nodes", nodes.to(torch.get_default_dtype()), persistent=False)
        spline = torch.tensor(_B_SPLINE, dtype=torch.get_default_dtype()) / 6
        self.register_buffer("spline", spline, persistent=False)

    def forward(self, distance: Tensor, factor: Tensor) -> RadialLookup:
        """Prepares reading at (P,) distances; what is read is multiplied by ``factor`` (P,)."""
        position = distance * (self.num_intervals / self.cutoff)
        interval = position.detach().floor().clamp(0, self.num_intervals - 1)
        t = (position - interval)[:, None]
        weights = torch.cat([torch.ones_like(t), t, t * t, t * t * t], 1) @ self.spline
        return RadialLookup(interval.long(), self.num_intervals, weights * factor[:, None])


class RadialLookup:
    """Reads values at the ``nodes`` of a :class:`RadialTable`, (num_intervals + 5, C), at P distances: (P, C)."""

    def __init__(self, interval: Tensor, num_intervals: int, weights: Tensor) -> None:
        self.sums = OuterSum(interval, num_intervals, 4, is_sorted=False, overlapping=True)
        self.weights = weights

    def __call__(self, values: Tensor) -> Tensor:
        coefficients = values[1:-1] * (4 / 3) - (values[:-2] + values[2:]) / 6
        return self.sums.partial_of(2, coefficients, self.weights)
