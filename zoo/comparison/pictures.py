"""A figure for each target: error against training-set size, number of parameters and training time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from zoo.comparison.result import Comparison
from zoo.comparison.tables import BASELINE
from zoo.pictures import figure as plots

__all__ = ["draw"]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe and Ito, which colour-blind readers can distinguish; marker shapes differ too."""
_MARKERS = "os^Dv<>Ph"


def draw(found: Comparison, target: str, picture: Path) -> Path:
    """Three panels with logarithmic axes; the second and third show the largest training set."""
    figure, (by_size, by_parameters, by_time) = plots.grid(3)
    styles = {entry.model: {"color": _COLOURS[n % len(_COLOURS)], "marker": _MARKERS[n % len(_MARKERS)]}
              for n, entry in enumerate(found.entries)}
    of = f"{'test' if found.split == 'test' else 'validation'} MAE of {target} / {found.unit(target)}"
    _against_size(by_size, found, target, styles)
    _against_parameters(by_parameters, found, target, styles)
    _against_time(by_time, found, target, styles)
    by_size.set(xlabel="training molecules", ylabel=of)
    by_parameters.set(xlabel="parameters", ylabel=of)
    by_time.set(xlabel=f"training, {'processor time' if found.by_processor else 'time'} / s",
                ylabel=f"MAE of {target} / {found.unit(target)}")
    titles = ("(a)", f"(b) {found.sizes[-1]:,} training molecules", "(c) the same; lines: validation, markers: test")
    for axis, title in zip((by_size, by_parameters, by_time), titles):
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(title, loc="left", fontsize=9)
        axis.grid(True, which="major", color="0.92", lw=0.6)
        axis.set_axisbelow(True)
        _plain(axis.yaxis)
    by_parameters.margins(x=0.15)
    _ticks(by_size, found.sizes)
    _plain(by_parameters.xaxis, thousands=True)
    _plain(by_time.xaxis)
    handles = dict(zip(*reversed(by_size.get_legend_handles_labels())))
    names = [name for name in (*styles, BASELINE) if name in handles]
    figure.legend([handles[name] for name in names], names, loc="outside upper center", ncols=min(len(names), 7),
                  frameon=False, fontsize=9)
    return plots.write(figure, picture)


def _against_size(axis: Any, found: Comparison, target: str, styles: dict[str, dict[str, Any]]) -> None:
    for model, style in styles.items():
        points = [(size, value) for size in found.sizes if (value := found.value(model, target, size)) is not None]
        if points:
            axis.errorbar([size for size, _ in points], [v for _, (v, _) in points], [s for _, (_, s) in points],
                          label=model, ms=5, lw=1.3, capsize=2, elinewidth=0.8, **style)
    line = found.baseline.get(target, {})
    if line:
        axis.plot(list(line), list(line.values()), color="0.55", ls="--", lw=1, label=BASELINE)


def _against_parameters(axis: Any, found: Comparison, target: str, styles: dict[str, dict[str, Any]]) -> None:
    for model, style in styles.items():
        value, runs = found.value(model, target), found.runs_of(model, found.sizes[-1])
        if value is not None:
            axis.errorbar([runs[0].parameters], [value[0]], [value[1]], ms=7, lw=0, capsize=2, elinewidth=0.8, **style)


def _against_time(axis: Any, found: Comparison, target: str, styles: dict[str, dict[str, Any]]) -> None:
    """Validation errors during training, one line a seed; the marker is the test error at the end."""
    time = "processor" if found.by_processor else "seconds"
    for model, style in styles.items():
        for run in found.runs_of(model, found.sizes[-1]):
            points = [point for point in run.history if target in point]
            axis.plot([p[time] for p in points], [p[target] for p in points], color=style["color"], lw=1.1, alpha=0.8)
            if (end := run.find(target)) is not None:
                axis.plot([getattr(run, time)], [end["value"]], ms=6, mec="white", mew=0.6, ls="", **style)


def _ticks(axis: Any, sizes: tuple[int, ...]) -> None:
    from matplotlib.ticker import NullLocator

    axis.set_xticks(list(sizes), [f"{size:,}" for size in sizes])
    axis.xaxis.set_minor_locator(NullLocator())


def _plain(axis: Any, *, thousands: bool = False) -> None:
    """Plain numbers instead of powers of ten, in a number that is readable and does not overlap."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = axis.get_view_interval()
    decades = math.log10(high / low) if 0 < low < high else 0.0
    if decades < 0.9:
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 1000:g}k" if thousands else f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())
