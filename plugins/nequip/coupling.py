"""Spherical harmonics of edge directions and their Clebsch-Gordan couplings, from constants that stay exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, nn

__all__ = ["ExactConstants", "SphericalHarmonics", "coupling_matrix"]


class ExactConstants(nn.Module):
    """Non-persistent buffers that are derived from float64 again whenever the module changes dtype or device.

    A plain buffer made in float32 keeps its rounding when the model is moved to float64, and equivariance with it.
    """

    def __init__(self, **constants: Tensor) -> None:
        super().__init__()
        self._exact = constants
        for name, value in constants.items():
            self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ExactConstants:
        super()._apply(fn, recurse)
        for name, value in self._exact.items():
            self._buffers[name] = value.to(self._buffers[name])
        return self


@cache
def _wigner_3j(l1: int, l2: int, l3: int) -> Tensor:
    """(2l1 + 1, 2l2 + 1, 2l3 + 1) float64 in e3nn's real basis, where l = 1 is (x, y, z)."""
    from e3nn.o3 import wigner_3j

    return wigner_3j(l1, l2, l3, dtype=torch.float64)


@cache
def _raising_matrix(l: int) -> Tensor:
    """(3(2l − 1), 2l + 1) float64: takes Y_{l−1} ⊗ Y_1 to Y_l."""
    from e3nn.o3 import spherical_harmonics

    direction = torch.tensor([[0.48, -0.6, 0.64]], dtype=torch.float64)
    lower, first, upper = (spherical_harmonics(k, direction, True, "component")[0] for k in (l - 1, 1, l))
    matrix = _wigner_3j(l - 1, 1, l).reshape(-1, 2 * l + 1)
    unscaled = torch.outer(lower, first).reshape(-1) @ matrix
    return matrix * (upper @ unscaled / unscaled.square().sum())


class SphericalHarmonics(ExactConstants):
    """Y_0 … Y_lmax of unit vectors, (…, 3) → (…, (lmax + 1)²), with Σ_m Y_lm² = 2l + 1 and e3nn's signs and order.

    Y_l is the coupling of Y_{l−1} with Y_1, so any degree costs one small matrix product and differentiates twice.
    """

    def __init__(self, lmax: int) -> None:
        super().__init__(**{f"raise_{l}": _raising_matrix(l) for l in range(2, lmax + 1)})
        self.lmax = lmax

    def forward(self, direction: Tensor) -> Tensor:
        harmonics = [torch.ones_like(direction[..., :1])]
        first = direction * 3**0.5
        for l in range(1, self.lmax + 1):
            if l == 1:
                harmonics.append(first)
            else:
                pairs = (harmonics[-1].unsqueeze(-1) * first.unsqueeze(-2)).flatten(-2)
                harmonics.append(pairs @ self._buffers[f"raise_{l}"])
        return torch.cat(harmonics, -1)


def coupling_matrix(l1: int, targets: Sequence[tuple[int, int]], lmax: int) -> Tensor:
    """((lmax + 1)², R, 2l1 + 1) float64: harmonics → matrices that take features of degree l1 to R = Σ (2l3 + 1) rows.

    ``targets`` lists (l2, l3) in the order of the rows. Normalised as e3nn's "component": factor sqrt(2l3 + 1).
    """
    rows = sum(2 * l3 + 1 for _, l3 in targets)
    matrix = torch.zeros((lmax + 1) ** 2, rows, 2 * l1 + 1, dtype=torch.float64)
    row = 0
    for l2, l3 in targets:
        block = _wigner_3j(l1, l2, l3).permute(1, 2, 0) * (2 * l3 + 1) ** 0.5
        matrix[l2**2 : (l2 + 1) ** 2, row : row + 2 * l3 + 1] = block
        row += 2 * l3 + 1
    return matrix
