"""Pictures of the experiments. matplotlib is imported when a picture is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from zoo.errors import MissingExtraError

if TYPE_CHECKING:
    from zoo.lab.equivariance import Equivariance

__all__ = ["draw_equivariance", "draw_representations"]


def draw_representations(matrices: Sequence[tuple[str, Tensor]], picture: Path) -> Path:
    """Matrices side by side in blue–white–red from −1 to 1, so that one sees the blocks."""
    plt = _pyplot()
    figure, axes = plt.subplots(1, len(matrices), figsize=(4.2 * len(matrices), 4.2), layout="constrained", squeeze=False)
    for (title, matrix), axis in zip(matrices, axes[0]):
        shown = axis.imshow(matrix.numpy(), cmap="bwr", vmin=-1, vmax=1)
        axis.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[0].tolist(), shrink=0.8)
    return _write(figure, picture)


def draw_equivariance(rows: Sequence[Equivariance], picture: Path, *, title: str) -> Path:
    """Relative error of every feature type and target, float32 beside float64, on a logarithmic axis."""
    plt = _pyplot()
    names = list(dict.fromkeys(row.of for row in rows))
    figure, axis = plt.subplots(figsize=(6.5, 0.8 + 0.32 * len(names)), layout="constrained")
    for offset, dtype in ((-0.19, "float32"), (0.19, "float64")):
        values = {row.of: max(row.relative, 1e-18) for row in rows if row.dtype == dtype}
        axis.barh(np.arange(len(names)) + offset, [values[n] for n in names], height=0.36, label=dtype, log=True)
    axis.set(yticks=range(len(names)), yticklabels=names, xlim=(1e-18, 1), xlabel="largest |f(Rx) − D(R) f(x)| / rms f",
             title=title)
    axis.invert_yaxis()
    axis.legend(frameon=False)
    return _write(figure, picture)


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise MissingExtraError("a picture", "plots") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _write(figure: Any, picture: Path) -> Path:
    picture = Path(picture)
    partial = picture.with_name(f".{picture.stem}.partial.png")
    figure.savefig(partial, dpi=150)
    partial.replace(picture)
    figure.clear()
    return picture
