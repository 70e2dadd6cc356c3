"""Energies that do not belong to the others: a robust fit of atomic references, of which half of the data may be wrong.

Least squares over all data would lie between two halves that differ by an offset, and see nothing. So references are
fitted to the half of the structures that they fit best (least trimmed squares: Rousseeuw & Van Driessen, Data Min.
Knowl. Discov. 12, 29 (2006)), from several starts, and all structures are compared with these.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["energy_outliers"]

_MOST = 20_000
"""References are fitted to at most so many structures, evenly spread."""
_FEWEST = 8
_STEPS = 10
_HALF = 0.378
"""Root mean square of the smaller half of |x|, for a normal distribution of width 1."""
_WIDTHS, _LEAST = 12.0, 1.0
"""How far an outlier lies: widths of the distribution, and eV per atom (a small slab is 0.5 above its crystal)."""


def energy_outliers(energy: Tensor, basis: Tensor, n_atoms: Tensor) -> tuple[Tensor, Tensor]:
    """Energies far from those of the other structures, with nothing between.

    Isolated atoms are not judged (their energy is not bound), nor are structures whose composition does not follow from
    those that the references were fitted to.

    Args:
        energy: (n,) eV. basis: (n, K) atoms of each element. n_atoms: (n,).

    Returns ``residual`` (n,) eV per atom from the robust references, and ``outside`` (n,) bool.
    """
    x, y = basis.double() / n_atoms[:, None], energy.double() / n_atoms
    bound = n_atoms > 1
    some = bound.nonzero()[:, 0]
    some = some[:: len(some) // _MOST + 1]
    outside = torch.zeros(len(y), dtype=torch.bool)
    if len(some) < _FEWEST:
        return torch.zeros_like(y), outside
    best = _best_half(x[some], y[some])
    kept = some[best]
    coefficients, span, inverse = _fit(x[kept], y[kept])
    residual = y - x @ coefficients
    freedom = len(kept) - span.shape[1]
    if freedom < 2:
        return residual, outside
    width = float((residual[kept].square().sum() / freedom).sqrt()) / _HALF
    # A composition outside the span of those in the fit has no reference; one at its edge has an uncertain one.
    judged = bound & ((x - x @ span @ span.T).norm(dim=1) < 1e-6)
    size = residual.abs() / (1 + ((x @ inverse) * x).sum(1).clamp(min=0)).sqrt()
    limit = _beyond_gap(size[judged].sort().values, max(_LEAST, _WIDTHS * width))
    return residual, judged & (size >= limit)


def _best_half(x: Tensor, y: Tensor) -> Tensor:
    """(h,) the half of the rows with the smallest residuals of a fit to them alone."""
    count = len(y)
    half = count // 2
    all_rows = torch.arange(count)
    above = (y - x @ _fit(x, y)[0]).argsort()
    starts = [all_rows, above[half:], above[:half], all_rows[:half], all_rows[half:], all_rows[::2], all_rows[1::2]]
    best, least = all_rows[:half], float("inf")
    for rows in starts:
        for _ in range(_STEPS):
            size = (y - x @ _fit(x[rows], y[rows])[0]).abs()
            nearest = size.argsort(stable=True)[:half].sort().values
            if torch.equal(nearest, rows):
                break
            rows = nearest
        left = float((y[rows] - x[rows] @ _fit(x[rows], y[rows])[0]).square().sum())
        if left < least:
            best, least = rows, left
    return best


def _fit(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Least squares: coefficients (K,), an orthonormal basis (K, r) of the compositions, and (xᵀx)⁺ (K, K)."""
    values, vectors = torch.linalg.eigh(x.T @ x)
    used = values > 1e-10 * values[-1].clamp(min=1e-300)
    span = vectors[:, used]
    inverse = span / values[used] @ span.T
    return inverse @ (x.T @ y), span, inverse


def _beyond_gap(ordered: Tensor, least: float) -> float:
    """The smallest value beyond ``least`` that is more than twice the one before it: outliers stand apart, and a
    distribution with a long tail has none. Infinity if there is no such value."""
    for k in range(int((ordered <= least).sum()), len(ordered)):
        if k and ordered[k] > 2 * ordered[k - 1] and ordered[k] - ordered[k - 1] > _LEAST:
            return float(ordered[k])
    return float("inf")
