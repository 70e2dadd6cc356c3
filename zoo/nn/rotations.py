"""How features of a given irreps string transform under an orthogonal matrix, to the last digits of float64."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from zoo.nn.irreps import FeatureLayout

__all__ = ["random_rotation", "transform", "wigner_d"]


def random_rotation(seed: int = 0) -> Tensor:
    """A proper rotation (3, 3) in float64, uniform over SO(3); the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    q = q * torch.sign(torch.diagonal(r))
    return q * torch.det(q)


def wigner_d(l: int, matrix: Tensor) -> Tensor:
    """D^l (2l+1, 2l+1) of a proper rotation (3, 3), in e3nn's real basis, for which D^1 is the rotation itself.

    Solved from Y^l(R x) = D^l Y^l(x) on fixed points x, which is exact to rounding; e3nn's own
    ``D_from_matrix`` goes through constants of single precision (3.7e-7 off for l = 1 in e3nn 0.6.0).
    """
    points, inverse = _samples(l)
    return (inverse @ _harmonics(l, points @ matrix.to(points).T)).T


def transform(irreps: str, h: Tensor, matrix: Tensor) -> Tensor:
    """Features (N, dim) of ``irreps`` after an orthogonal transformation of space, proper or not."""
    determinant = torch.linalg.det(matrix.double())
    improper = bool(determinant < 0)
    proper = -matrix if improper else matrix
    out = torch.empty_like(h)
    for term in FeatureLayout(irreps).terms:
        block = h[:, term.start : term.stop].reshape(-1, term.mul, 2 * term.l + 1)
        sign = term.p if improper else 1
        turned = sign * torch.einsum("nca,ba->ncb", block, wigner_d(term.l, proper).to(h))
        out[:, term.start : term.stop] = turned.flatten(1)
    return out


def _harmonics(l: int, points: Tensor) -> Tensor:
    from e3nn import o3

    return o3.spherical_harmonics(l, points, normalize=True, normalization="component")


@cache
def _samples(l: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(l)
    points = torch.nn.functional.normalize(torch.randn(16 * (2 * l + 1), 3, generator=generator, dtype=torch.float64))
    return points, torch.linalg.pinv(_harmonics(l, points))
