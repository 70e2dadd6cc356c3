"""The learning curve of a run: as a small CSV file next to the card, and as a plot."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from zoo.errors import DataError
from zoo.evaluation.leaderboard import CURVE_FILE
from zoo.files.atomic_writes import write_text

__all__ = ["draw_curves", "write_curve"]

_MOST = 40


def write_curve(run: Path, folder: Path | None = None) -> Path | None:
    """Write ``curve.csv``: step, hours, validation loss and the MAE of every target in the card's unit.

    For a long run, at most forty validations at even intervals, with the first and the last.

    Args:
        run: folder with ``metrics.jsonl``.
        folder: where to write; default: ``run``.

    Returns the file; ``None`` when nothing was validated.
    """
    found = [line for line in _events(run, "evaluate") if "seconds" in line]
    if not found:
        return None
    count = min(len(found), _MOST)
    kept = [found[round(k * (len(found) - 1) / max(1, count - 1))] for k in range(count)]
    names = ["loss", *(key for key in found[-1] if key.endswith(".mae"))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "hours", *names])
    for line in kept:
        cells = [f"{line[name]:.5g}" if name in line else "" for name in names]
        writer.writerow([line["step"], f"{line['seconds'] / 3600:.4f}", *cells])
    path = (folder or run) / CURVE_FILE
    write_text(path, text.getvalue())
    return path


def draw_curves(run: Path, picture: Path) -> Path:
    """Plot training loss, validation loss and validation MAE of every target over the steps of a run.

    Args:
        run: folder with ``metrics.jsonl``.

    Raises:
        DataError: the log has no validation yet.
    """
    from zoo.pictures import figure as plots

    logs, evaluations = _events(run, "log"), _events(run, "evaluate")
    if not evaluations:
        raise DataError(f"{run / 'metrics.jsonl'} has no validation yet. Fix: wait for the first one")
    names = [key for key in evaluations[-1] if key.endswith(".mae")]
    figure, axes = plots.grid(1 + len(names))
    loss = axes[0]
    loss.plot([e["step"] for e in logs], [e["loss"] for e in logs], color="0.6", lw=0.8, label="training")
    loss.plot([e["step"] for e in evaluations], [e["loss"] for e in evaluations], color="C0", label="validation")
    loss.set(title="loss", yscale="log")
    loss.legend(frameon=False, fontsize=8)
    for name, axis in zip(names, axes[1:]):
        axis.plot([e["step"] for e in evaluations], [e.get(name, math.nan) for e in evaluations], color="C0")
        axis.set(title=f"{name.removesuffix('.mae')}: validation MAE", yscale="log")
    for axis in axes:
        axis.set_xlabel("step")
    return plots.write(figure, picture)


def _events(run: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of one kind in a run's ``metrics.jsonl``."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(_parsed, lines) if line.get("event") == kind]


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:  # the last line of a killed run may be half a line
        return {}
    return found if isinstance(found, dict) else {}
