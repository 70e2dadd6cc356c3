"""The plots of an evaluation: predictions against labels, and how well other kinds of geometry are detected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import EvaluationError
from zoo.pictures import figure as plots

if TYPE_CHECKING:
    from zoo.evaluation.evaluation import Evaluation
    from zoo.evaluation.metrics import TargetResult

__all__ = ["draw_detection", "draw_parity"]

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


def draw_detection(evaluation: Evaluation, picture: Path) -> Path:
    """ROC of the detector: share of each other kind that is flagged against the share of the own kind that is.

    Raises:
        EvaluationError: the model has no detector, or the data have no structures of its own or of another kind.
    """
    found, flagged = evaluation.detection, set(evaluation.flagged_kinds)
    own, others = [kind for kind in found if kind not in flagged], [kind for kind in found if kind in flagged]
    if not own or not others:
        raise EvaluationError(f"{evaluation.model} has no detector of other geometries, or the data are of one kind. "
                              "Fix: fit a detector with zoo calibrate --flag KIND, and give data of its own and of "
                              "other kinds")
    figure, (axis,) = plots.grid(1)
    ordinary = np.sort(np.concatenate([found[kind] for kind in own]))
    false_alarms = 1 - np.arange(1, len(ordinary) + 1) / len(ordinary)
    for kind in others:
        share = 1 - np.searchsorted(np.sort(found[kind]), ordinary, side="right") / len(found[kind])
        used = np.mean(found[kind] > 0)
        (line,) = axis.plot(false_alarms, share, label=f"{kind}: {used:.0%} flagged")
        axis.plot(np.mean(ordinary > 0), used, "o", color=line.get_color())
    axis.set(xscale="log", xlim=(1e-3, 1), ylim=(0, 1.02), title=evaluation.model,
             xlabel=f"share of {', '.join(own)} that is flagged", ylabel="share of the kind that is flagged")
    axis.legend(loc="lower right", frameon=False)
    return plots.write(figure, picture)
