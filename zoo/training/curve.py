"""The learning curve of a run in a file small enough to stay beside the card."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from zoo.evaluation.leaderboard import CURVE_FILE
from zoo.files.replacing import write_text

__all__ = ["write_curve"]

_MOST = 40


def write_curve(run: Path, folder: Path | None = None) -> Path | None:
    """Write ``curve.csv``: step, hours, validation loss and the MAE of every target in the card's unit.

    Of a long run, at most forty of its validations, evenly spread, with the first and the last.

    Args:
        run: folder with ``metrics.jsonl``.
        folder: where to write; beside it if absent.

    Returns the file; ``None`` when nothing was validated.
    """
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = [line for line in map(_parsed, lines) if line.get("event") == "evaluate" and "seconds" in line]
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


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:  # the last line of a killed run may be half a line
        return {}
    return found if isinstance(found, dict) else {}
