"""Figures without pyplot, which keeps global state and may need a display. matplotlib is imported on first use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.files.atomic_writes import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["empty", "grid", "write"]

_COLUMNS = 4


def empty(width: float, height: float) -> Figure:
    """A figure without axes, size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def grid(count: int) -> tuple[Figure, Sequence[Any]]:
    """A figure with ``count`` axes in rows of up to four."""
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    figure = empty(3.4 * columns, 3.0 * rows)
    return figure, [figure.add_subplot(rows, columns, place + 1) for place in range(count)]


def write(figure: Figure, picture: Path, *, dpi: int = 120) -> Path:
    """Save a figure as PNG; the file appears complete or not at all."""
    with replacing(Path(picture)) as staging:
        figure.savefig(staging, dpi=dpi, format="png")
    return Path(picture)
