"""Predictions as dicts and lists, which show themselves as tables in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.errors import ZooError
from zoo.files.html import html_table

__all__ = ["Prediction", "Predictions"]

_SHOWN = 50  # rows of a table in a notebook


class Prediction(dict[str, Any]):
    """What is predicted for one structure, by name.

    Attributes:
        units: unit of each target.
    """

    def __init__(self, values: Mapping[str, Any], units: Mapping[str, str]) -> None:
        super().__init__(values)
        self.units = dict(units)

    def _repr_html_(self) -> str:
        rows = [(name, _short(value), self._width(name), self.units.get(name, "")) for name, value in self.items()
                if isinstance(value, (float, int, np.ndarray))]
        remark = "; ".join([*(self.get("outside") or ()), *(self.get("notes") or ())])
        table = html_table(["property", "value", "±", "unit"], rows, title=str(self.get("smiles", "")), note=remark)
        return table + self._structure()

    def _width(self, name: str) -> str:
        width = (self.get("uncertainty") or {}).get(name)
        return "" if width is None else f"{width:.2g}"

    def _structure(self) -> str:
        from zoo.structures.turning import has_viewer, turning_view

        return turning_view(self["atoms"]).write_html() if "atoms" in self and has_viewer() else ""


class Predictions(list[Any]):
    """Predictions of several structures in their order; a :class:`~zoo.errors.ZooError` in the place of a failed one.

    Attributes:
        units: unit of each target.
    """

    def __init__(self, results: list[Any], units: Mapping[str, str]) -> None:
        super().__init__(results)
        self.units = dict(units)

    def _repr_html_(self) -> str:
        names = list(dict.fromkeys(name for one in self if isinstance(one, dict) for name, value in one.items()
                                   if isinstance(value, (float, int, str))))
        rows = [[index, *self._cells(one, names)] for index, one in enumerate(self[:_SHOWN])]
        units = [f"{name} / {self.units[name]}" if name in self.units else name for name in names]
        more = f"{len(self) - _SHOWN:,} more are not shown" if len(self) > _SHOWN else ""
        return html_table(["", *units], rows, note=more)

    def _cells(self, one: Any, names: list[str]) -> list[str]:
        if isinstance(one, ZooError):
            return [str(one)]
        widths = one.get("uncertainty") or {}
        return [f"{_short(one.get(name, ''))} ± {widths[name]:.2g}" if name in widths else _short(one.get(name, ""))
                for name in names]


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array of shape {value.shape}"
    return f"{value:,.4f}" if isinstance(value, float) else str(value)
