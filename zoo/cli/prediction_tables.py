"""Tables of `zoo predict`: few structures beside each other, many below each other, errors against references."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

    from zoo.inference.rows import Predicted
    from zoo.inference.writers import Heading

__all__ = ["show"]

_SIDE_BY_SIDE = 3
_MANY = 9
_MARK, _BELOW = " [yellow]![/]", "\n"


def show(heading: Heading, rows: list[Predicted]) -> None:
    """Print the rows that have values."""
    from zoo.cli import console as standard_output

    console = standard_output()
    done = [row for row in rows if row.error is None]
    if len(done) > _MANY:
        console.print(_lines(heading, done))
        console.print("(--csv and --json give every digit)", style="dim")
    else:
        for start in range(0, len(done), _SIDE_BY_SIDE):
            console.print(_columns(heading, done[start : start + _SIDE_BY_SIDE]))
    if any(row.widths for row in done):
        console.print(f"± holds {heading.level:.0%} of all errors for structures like those trained on"
                      f"{'; ! marks others' if any(row.outside for row in done) else ''}", style="dim")
    errors = _mean_errors(heading, done)
    if errors is not None:
        console.print(errors)


def _columns(heading: Heading, rows: list[Predicted]) -> Table:
    """A few structures beside each other, one property a line, with the error where the file has a reference."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=heading.model)
    table.add_column("property")
    table.add_column("unit")
    for row in rows:
        formula = row.structure.get_chemical_formula()
        label = row.label if row.label == formula else f"{row.label}\n{formula}"
        table.add_column(f"{escape(label)}{_MARK if row.outside else ''}", justify="right")
    for target, unit in heading.units.items():
        cells = []
        for row in rows:
            reference = row.reference(target, unit)
            text = _number(row.values[target]) + _plus_minus(row.width(target))
            cells.append(text if reference is None else f"{text}\n[dim]ref {_number(reference)}[/]")
        table.add_row(target, unit, *cells)
    return table


def _lines(heading: Heading, rows: list[Predicted]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=heading.model)
    table.add_column("structure")
    for target, unit in heading.units.items():
        table.add_column(f"{target}\n{unit}", justify="right")
    for row in rows:
        cells = [f"{_number(row.values[t])}{_plus_minus(row.width(t), separator=_BELOW)}" for t in heading.units]
        table.add_row(f"{escape(row.label)}{_MARK if row.outside else ''}", *cells)
    return table


def _mean_errors(heading: Heading, rows: list[Predicted]) -> Table | None:
    """Mean absolute errors over the structures whose file carries a reference."""
    from rich.table import Table

    table = Table(title="against the reference values in the files")
    for name in ("property", "unit", "mean absolute error", "largest", "n"):
        table.add_column(name, justify="left" if name in ("property", "unit") else "right")
    for target, unit in heading.compared.items():
        found = [np.ravel(abs(row.values[target] - ref)) for row in rows
                 if (ref := row.reference(target, unit)) is not None]
        if found:
            errors = np.concatenate(found)
            table.add_row(target, unit, f"{np.mean(errors):.4g}", f"{max(errors):.4g}", str(len(errors)))
    return table if table.row_count else None


def _plus_minus(width: float | None, separator: str = " ") -> str:
    """``± w`` with two significant digits; nothing without an estimate."""
    if width is None:
        return ""
    digits = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 0
    return f"{separator}[dim]± {width:,.{digits}f}[/]"


def _number(value: float | np.ndarray) -> str:
    if np.ndim(value):
        return np.array2string(np.asarray(value), precision=4, separator=", ")
    number = float(value)
    return f"{number:,.4f}" if abs(number) < 1e6 else f"{number:.6g}"
