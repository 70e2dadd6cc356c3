"""Plots of the experiments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from zoo.pictures import figure as plots

if TYPE_CHECKING:
    from zoo.lab.equivariance import Equivariance
    from zoo.lab.experiments import PairResult
    from zoo.lab.expressivity import Verdict

__all__ = ["draw_equivariance", "draw_expressivity", "draw_representations"]


def draw_representations(matrices: Sequence[tuple[str, Tensor]], picture: Path) -> Path:
    """Matrices side by side, with colors from blue (−1) over white to red (1) that show the blocks."""
    figure = plots.empty(4.2 * len(matrices), 4.2)
    axes = figure.subplots(1, len(matrices), squeeze=False)
    for (title, matrix), axis in zip(matrices, axes[0]):
        shown = axis.imshow(matrix.numpy(), cmap="bwr", vmin=-1, vmax=1)
        axis.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[0].tolist(), shrink=0.8)
    return plots.write(figure, picture, dpi=150)


def draw_equivariance(rows: Sequence[Equivariance], picture: Path, *, title: str) -> Path:
    """Relative error of every feature type and target in float32 and float64, on a logarithmic axis."""
    names = list(dict.fromkeys(row.of for row in rows))
    figure = plots.empty(6.5, 0.8 + 0.32 * len(names))
    axis = figure.subplots()
    for offset, dtype in ((-0.19, "float32"), (0.19, "float64")):
        values = {row.of: max(row.relative, 1e-18) for row in rows if row.dtype == dtype}
        axis.barh(np.arange(len(names)) + offset, [values[n] for n in names], height=0.36, label=dtype, log=True)
    axis.set(yticks=range(len(names)), yticklabels=names, xlim=(1e-18, 1), xlabel="largest |f(Rx) − D(R) f(x)| / rms f",
             title=title)
    axis.invert_yaxis()
    axis.legend(frameon=False)
    return plots.write(figure, picture, dpi=150)


def draw_expressivity(rows: Sequence[PairResult], picture: Path) -> Path:
    """Heat maps of margins, network × pair: the smallest depth in the upper one, the largest in the lower one.

    The color is log10 of difference over noise; the text is the number of layers from which on the pair is
    distinguished.
    """
    names, kinds = (list(dict.fromkeys(getattr(row, key) for row in rows)) for key in ("name", "pair"))
    figure = plots.empty(2.2 + 0.95 * len(kinds), 1.6 + 0.9 * len(names))
    axes = figure.subplots(2, 1)
    for axis, which in zip(axes, ("shallow", "deep")):
        grid = np.full((len(names), len(kinds)), np.nan)
        for row in rows:
            verdict: Verdict = getattr(row, which)
            place = names.index(row.name), kinds.index(row.pair)
            grid[place] = np.log10(max(verdict.margin, 1.0))
            label = "yes" if row.first is None or which == "shallow" else f"from {row.first}"
            axis.text(place[1], place[0], label if verdict.distinguished else "–", ha="center", va="center",
                      color="white" if grid[place] > 5 else "black")
        shown = axis.imshow(grid, cmap="Blues", vmin=0, vmax=12, aspect="auto")
        depths = list(dict.fromkeys(getattr(row, which).layers for row in rows if row.first or row.shallow.layers))
        layers = f"{depths[0]} layer{'s' if depths[0] > 1 else ''}" if depths else "as trained"
        axis.set(xticks=range(len(kinds)), xticklabels=kinds, yticks=range(len(names)), yticklabels=names, title=layers)
    figure.colorbar(shown, ax=axes.tolist(), label="log10 of difference over noise")
    return plots.write(figure, picture, dpi=150)
