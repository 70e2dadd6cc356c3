"""The plot of an evaluation: predictions against labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.pictures import figure as plots

if TYPE_CHECKING:
    from zoo.evaluation.metrics import TargetResult

__all__ = ["draw_parity"]

_POINTS = 20_000


def draw_parity(results: Mapping[str, TargetResult], picture: Path, *, title: str = "") -> Path:
    """Predictions against labels of every target, with the diagonal and the MAE."""
    figure, axes = plots.grid(len(results))
    for (name, result), axis in zip(results.items(), axes):
        label, predicted = result.label.reshape(-1), result.predicted.reshape(-1)
        some = slice(None, None, max(1, len(label) // _POINTS))
        axis.plot(label[some], predicted[some], ".", ms=2, alpha=0.3, color="C0", rasterized=True)
        low, high = min(label.min(), predicted.min()), max(label.max(), predicted.max())
        axis.plot([low, high], [low, high], color="0.3", lw=0.8)
        axis.set(title=f"{name}: MAE {np.abs(label - predicted).mean():.4g} {result.unit}",
                 xlabel=f"label / {result.unit}", ylabel=f"prediction / {result.unit}")
    if title:
        figure.suptitle(title)
    return plots.write(figure, picture)
