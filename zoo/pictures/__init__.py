"""What every plot shares: a grid of axes, and a PNG written whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.pictures.figure import grid, write

__all__ = ["grid", "write"]

__getattr__ = lazy_names(__name__, {"grid": "figure", "write": "figure"})
