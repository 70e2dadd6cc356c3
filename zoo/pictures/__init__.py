"""What all plots of the package share: figures, grids of axes and PNG files. Start with ``figure.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.pictures.figure import empty, grid, write

__all__ = ["empty", "grid", "write"]

__getattr__ = lazy_names(__name__, {"empty": "figure", "grid": "figure", "write": "figure"})
