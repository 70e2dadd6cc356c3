"""How good intervals are: their coverage, and the rank correlation of their widths with the errors."""

from __future__ import annotations

import numpy as np

__all__ = ["interval_metrics", "spearman"]


def interval_metrics(error: np.ndarray, width: np.ndarray) -> dict[str, float]:
    """Coverage, Spearman's ρ of half-width and absolute error, and the median half-width; both arguments (n,)."""
    absolute = np.abs(error)
    return {"coverage": float((absolute <= width).mean()), "spearman": spearman(width, absolute),
            "width": float(np.median(width))}


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of two (n,) arrays; 0 where one of them is constant."""
    from scipy.stats import spearmanr  # imported here: it takes half a second

    if len(a) < 2 or np.all(a == a[0]) or np.all(b == b[0]):
        return 0.0
    return float(spearmanr(a, b).statistic)
