"""Pictures of a training run and of an evaluation, as PNG files. matplotlib is imported when a picture is made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import DataError, MissingExtraError
from zoo.files.replacing import replacing

if TYPE_CHECKING:
    from zoo.evaluation.evaluation import TargetResult

__all__ = ["curves", "grid", "parity", "write"]

_COLUMNS = 4
_POINTS = 20_000


def curves(run: Path, picture: Path) -> Path:
    """Training loss, learning rate and validation MAE of every target over the steps of a run.

    Args:
        run: folder with ``metrics.jsonl``.

    Raises:
        DataError: nothing was logged yet.
        MissingExtraError: matplotlib is not installed.
    """
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    logs = [line for line in lines if line["event"] == "log"]
    evaluations = [line for line in lines if line["event"] == "evaluate"]
    if not evaluations:
        raise DataError(f"{run / 'metrics.jsonl'} holds no evaluation yet")
    names = [key for key in evaluations[-1] if key.endswith(".mae")]
    figure, axes = grid(1 + len(names))
    loss = axes[0]
    loss.plot([e["step"] for e in logs], [e["loss"] for e in logs], color="0.6", lw=0.8, label="training")
    loss.plot([e["step"] for e in evaluations], [e["loss"] for e in evaluations], color="C0", label="validation")
    loss.set(title="loss", yscale="log")
    loss.legend(frameon=False, fontsize=8)
    for name, axis in zip(names, axes[1:]):
        axis.plot([e["step"] for e in evaluations], [e.get(name, np.nan) for e in evaluations], color="C0")
        axis.set(title=f"{name.removesuffix('.mae')}: validation MAE", yscale="log")
    for axis in axes:
        axis.set_xlabel("step")
    return write(figure, picture)


def parity(results: Mapping[str, TargetResult], picture: Path, *, title: str = "") -> Path:
    """Predictions against labels of every target, with the line of equality and the MAE.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = grid(len(results))
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
    return write(figure, picture)


def grid(count: int) -> tuple[Any, Sequence[Any]]:
    """A figure with ``count`` axes; made without pyplot, which keeps global state and may want a display."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing pictures", "plots") from error
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.4 * columns, 3.0 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, columns, place + 1) for place in range(count)]


def write(figure: Any, picture: Path) -> Path:
    """Save a figure as PNG; the file appears whole or not at all."""
    with replacing(picture) as staging:
        figure.savefig(staging, dpi=120, format="png")
    return picture
