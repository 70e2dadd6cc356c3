"""Whether intervals hold: how many errors they cover, and whether wide ones belong to large errors."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["interval_metrics", "spearman"]


def interval_metrics(error: np.ndarray, width: np.ndarray) -> dict[str, float]:
    """Coverage, Spearman's ρ of half-width and absolute error, and the median half-width; both (n,)."""
    absolute = np.abs(error)
    return {"coverage": float((absolute <= width).mean()), "spearman": spearman(width, absolute),
            "width": float(np.median(width))}


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two (n,) arrays; 0 where one of them is constant."""
    ranks = [_ranks(np.asarray(x)) for x in (a, b)]
    x, y = (r - r.mean() for r in ranks)
    norm = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / norm if norm > 0 else 0.0


def _ranks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Ranks from 0; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[place.reshape(-1)]
