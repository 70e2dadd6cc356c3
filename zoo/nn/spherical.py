"""Angular bases: spherical Bessel functions of a distance, Legendre and spherical harmonics of directions."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import spherical_jn
from torch import Tensor, nn

from zoo.errors import ZooError

MAX_DEGREES, MAX_FREQUENCIES = 32, 128
"""Of a spherical Bessel basis; the zeros of its functions are searched one by one."""

__all__ = [
    "SphericalBesselBasis",
    "circular_harmonics",
    "normalised_legendre",
    "planar_powers",
    "spherical_bessel_zeros",
]


def spherical_bessel_zeros(l_max: int, num: int) -> np.ndarray:
    """(l_max + 1, num) first positive zeros of j_0 … j_{l_max}: those of j_l lie between those of j_{l−1}."""
    zeros = [np.arange(1, num + l_max + 1) * math.pi]
    for l in range(1, l_max + 1):
        zeros.append(np.array([
            brentq(lambda x: spherical_jn(l, x), low, high, xtol=1e-15, rtol=1e-15)  # noqa: B023
            for low, high in pairwise(zeros[-1])
        ]))
    return np.stack([z[:num] for z in zeros])


class SphericalBesselBasis(nn.Module):
    """j_l(z_ln d/c) · sqrt(2 / j_{l+1}(z_ln)²) for l < L, n = 1 … R, orthonormal in x = d/c with weight x².

    Maps (E,) distances in Å to (E, L, R). Gasteiger et al. 2020, arXiv:2003.03123, eq. 6 without the envelope, the
    harmonic and the factor c^(−3/2).

    The functions are evaluated as Chebyshev series on [0, c], exact to rounding: they are entire functions, and half
    the highest frequency (z_ln) plus 20 terms suffice. One matrix product evaluates all of them; it is differentiable
    to any order and has no cancellation at small d.
    """

    series: Tensor

    def __init__(self, num_spherical: int, num_radial: int, cutoff: float) -> None:
        super().__init__()
        if not (0 < num_spherical <= MAX_DEGREES and 0 < num_radial <= MAX_FREQUENCIES):
            raise ZooError(f"num_spherical = {num_spherical}, num_radial = {num_radial}: out of range. Fix: choose "
                           f"between 1 and {MAX_DEGREES}, and between 1 and {MAX_FREQUENCIES}")
        self.shape = (num_spherical, num_radial)
        self.cutoff = cutoff
        series = _bessel_chebyshev(num_spherical, num_radial)
        self.register_buffer("series", torch.from_numpy(series.copy()).to(torch.get_default_dtype()), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        t = distance * (2.0 / self.cutoff) - 1.0
        return (_chebyshev(t.clamp(max=1.0), self.series.shape[0]) @ self.series).view(-1, *self.shape)


@cache
def _bessel_chebyshev(num_spherical: int, num_radial: int) -> np.ndarray:
    """(terms, L·R) Chebyshev coefficients in 2d/c − 1; cached, since finding the zeros takes long."""
    zeros = spherical_bessel_zeros(num_spherical - 1, num_radial)
    degree = 24 + int(0.6 * zeros.max())
    angle = (np.arange(2 * degree) + 0.5) * math.pi / (2 * degree)
    x = 0.5 * (np.cos(angle) + 1.0)
    values = np.empty((len(x), num_spherical, num_radial))
    for l in range(num_spherical):
        norm = math.sqrt(2.0) / np.abs(spherical_jn(l + 1, zeros[l]))
        values[:, l] = spherical_jn(l, x[:, None] * zeros[l]) * norm
    series = np.cos(np.arange(degree)[:, None] * angle) @ values.reshape(len(x), -1) / degree
    series[0] /= 2
    return series


def _chebyshev(t: Tensor, num: int) -> Tensor:
    """T_0 … T_{num−1} of (E,), as (E, num), doubling the list in each step: T_{m+k} = 2 T_m T_k − T_{m−k}."""
    columns = torch.stack([torch.ones_like(t), t], dim=1)
    while columns.shape[1] < num:
        m = columns.shape[1] - 1
        columns = torch.cat([columns, 2 * columns[:, m:] * columns[:, 1:] - columns[:, :m].flip(1)], dim=1)
    return columns[:, :num]


def circular_harmonics(cos: Tensor, num: int, weight: Tensor | None = None) -> list[Tensor]:
    """Y_l0 for l < ``num`` of cosines of any shape: sqrt((2l+1)/4π) P_l(cos), one tensor per l.

    ``weight`` of the same shape multiplies all of them, for the cost of one product. Polynomials of the cosine: smooth
    at 0 and π, where the angle itself is not.
    """
    one = torch.ones_like(cos) if weight is None else weight
    p = [one, cos * one]
    for l in range(2, num):
        # The two coefficients of the recurrence sum to one.
        p.append(torch.lerp(p[-2], cos * p[-1], (2 * l - 1) / l))
    return [math.sqrt((2 * l + 1) / (4 * math.pi)) * p[l] for l in range(num)]


def normalised_legendre(cos: Tensor, num: int, weight: Tensor) -> list[list[Tensor]]:
    """N_lm P_l^m(cos φ) / sin^m φ for m ≤ l < ``num``, times ``weight``: ``result[m][l − m]``.

    Times Re (x + iy)^m, with (x, y, cos φ) a unit vector, it is the real spherical harmonic √2 N_lm P_l^m cos mθ
    (without √2 for m = 0), as a polynomial of the components: smooth at the poles. The harmonics with sin mθ change
    sign under reflection, so an invariant network has no use for them.
    """
    result = []
    diagonal = 1.0
    for m in range(num):
        diagonal *= max(2 * m - 1, 1)
        p = [diagonal * weight]
        if m + 1 < num:
            p.append((2 * m + 1) * cos * p[0])
        for l in range(m + 2, num):
            p.append(torch.lerp(p[-2], cos * p[-1], (2 * l - 1) / (l - m)))
        result.append([_norm(m + k, m) * p[k] for k in range(num - m)])
    return result


def _norm(l: int, m: int) -> float:
    ratio = math.factorial(l - m) / math.factorial(l + m)
    return math.sqrt((2 * l + 1) / (4 * math.pi) * ratio * (2 if m else 1))


def planar_powers(x: Tensor, y: Tensor, num: int) -> tuple[list[Tensor], list[Tensor]]:
    """Real and imaginary parts of (x + iy)^m for 1 ≤ m < ``num``."""
    real, imaginary = [x], [y]
    for _ in range(num - 2):
        a, b = real[-1], imaginary[-1]
        real.append(a * x - b * y)
        imaginary.append(a * y + b * x)
    return real[: num - 1], imaginary[: num - 1]
