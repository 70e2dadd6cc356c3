"""Angular bases: spherical Bessel functions of a distance, Legendre and spherical harmonics of directions."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

__all__ = [
    "SphericalBesselBasis",
    "circular_harmonics",
    "normalised_legendre",
    "planar_powers",
    "spherical_bessel",
    "spherical_bessel_zeros",
]


def spherical_bessel(l_max: int, x: np.ndarray) -> np.ndarray:
    """j_0 … j_{l_max} at ``x`` ≥ 0 of any shape, (l_max + 1, *x.shape), to float64 accuracy for small and large x.

    The power series below x = 1; beyond it the downward recurrence j_{l−1} = (2l+1)/x j_l − j_{l+1} (Miller), scaled
    to j_0 or j_1, whichever is larger. Upward recurrence would lose all digits for x < l.
    """
    x = np.asarray(x, dtype=np.float64)
    small = np.minimum(x, 1.0)
    series = np.stack([_bessel_series(l, small) for l in range(l_max + 1)])
    large = np.maximum(x, 1.0)
    start = l_max + int(1.5 * float(large.max(initial=1.0))) + 30
    above, here = np.zeros_like(large), np.full_like(large, 1e-200)
    kept = np.zeros((max(l_max, 1) + 1, *x.shape))
    for l in range(start, 0, -1):
        above, here = here, (2 * l + 1) / large * here - above
        # Rescale what has grown, before it overflows; only ratios count.
        shrink = np.where(np.abs(here) > 1e100, 1e-100, 1.0)
        above, here, kept = above * shrink, here * shrink, kept * shrink
        if l - 1 < len(kept):
            kept[l - 1] = here
    j0 = np.sin(large) / large
    j1 = (j0 - np.cos(large)) / large
    by_zero = np.abs(j0) > np.abs(j1)
    scale = np.where(by_zero, j0, j1) / np.where(by_zero, kept[0], kept[1])
    return np.where(x < 1.0, series, (kept * scale)[: l_max + 1])


def _bessel_series(l: int, x: np.ndarray) -> np.ndarray:
    """x^l / (2l+1)!! · Σ_k (−x²/2)^k / (k! (2l+3)(2l+5)…(2l+2k+1)), for x ≤ 1."""
    term = x**l / math.prod(range(1, 2 * l + 2, 2))
    total = term.copy()
    for k in range(1, 12):
        term = term * (-0.5 * x * x) / (k * (2 * l + 2 * k + 1))
        total = total + term
    return total


def spherical_bessel_zeros(l_max: int, num: int) -> np.ndarray:
    """(l_max + 1, num) first positive zeros of j_0 … j_{l_max}, by bisection between those of the degree below."""
    zeros = [np.arange(1, num + l_max + 1) * math.pi]
    for l in range(1, l_max + 1):
        low, high = zeros[-1][:-1].copy(), zeros[-1][1:].copy()
        sign = np.sign(_upward(l, low))
        for _ in range(56):
            middle = 0.5 * (low + high)
            left = np.sign(_upward(l, middle)) == sign
            low, high = np.where(left, middle, low), np.where(left, high, middle)
        zeros.append(0.5 * (low + high))
    return np.stack([z[:num] for z in zeros])


def _upward(l: int, x: np.ndarray) -> np.ndarray:
    """j_l by upward recurrence: stable for x > l, where all zeros lie, and much shorter than the downward one."""
    below, here = np.cos(x) / x, np.sin(x) / x
    for k in range(l):
        below, here = here, (2 * k + 1) / x * here - below
    return here


class SphericalBesselBasis(nn.Module):
    """j_l(z_ln d/c) · sqrt(2 / j_{l+1}(z_ln)²) for l < L, n = 1 … R, orthonormal in x = d/c with weight x².

    Maps (E,) distances in Å to (E, L, R). Gasteiger et al. 2020, arXiv:2003.03123, eq. 6 without the envelope, the
    harmonic and the factor c^(−3/2).

    On [0, c] these are entire functions: a Chebyshev series of 20 terms above half the highest frequency holds them to
    rounding error. One matrix product then evaluates all of them, differentiable to any order, nothing cancelling for
    small d.
    """

    series: Tensor

    def __init__(self, num_spherical: int, num_radial: int, cutoff: float) -> None:
        super().__init__()
        self.shape = (num_spherical, num_radial)
        self.cutoff = cutoff
        series = _bessel_chebyshev(num_spherical, num_radial)
        self.register_buffer("series", torch.from_numpy(series.copy()).to(torch.get_default_dtype()), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        t = distance * (2.0 / self.cutoff) - 1.0
        return (_chebyshev(t.clamp(max=1.0), self.series.shape[0]) @ self.series).view(-1, *self.shape)


@cache
def _bessel_chebyshev(num_spherical: int, num_radial: int) -> np.ndarray:
    """(terms, L·R) Chebyshev coefficients in 2d/c − 1. Kept, since finding the zeros is most of building a model."""
    zeros = spherical_bessel_zeros(num_spherical - 1, num_radial)
    degree = 24 + int(0.6 * zeros.max())
    angle = (np.arange(2 * degree) + 0.5) * math.pi / (2 * degree)
    x = 0.5 * (np.cos(angle) + 1.0)
    values = np.empty((len(x), num_spherical, num_radial))
    for l in range(num_spherical):
        norm = math.sqrt(2.0) / np.abs(spherical_bessel(l + 1, zeros[l])[l + 1])
        values[:, l] = spherical_bessel(l, x[:, None] * zeros[l])[l] * norm
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

    ``weight`` of the same shape multiplies all of them, at the price of one product. Polynomials of the cosine: smooth
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
