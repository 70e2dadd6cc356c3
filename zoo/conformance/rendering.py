"""The report for people: tables in the terminal, or one HTML file without other files. Torch-free."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.conformance.report import Report, Row
from zoo.files.atomic_writes import write_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

__all__ = ["renderables", "write_html"]

_STYLES = {"pass": "green", "fail": "bold red", "exempt": "yellow", "not applicable": "dim"}
_WIDTH = 180


def renderables(report: Report, *, failures: bool = False) -> Iterator[RenderableType]:
    """A table for each subject, and the verdict, to print with rich.

    Args:
        failures: leave out rows that pass or do not apply.
    """
    from rich.text import Text

    for subject in dict.fromkeys(row.subject for row in report.rows):
        yield _table(subject, [row for row in report.rows if row.subject == subject and not (
            failures and row.status in ("pass", "not applicable"))])
    counts = ", ".join(f"{number} {status}" for status, number in report.counts.items() if number)
    verdict = Text("conforms", style="bold green") if report.passed else Text("does not conform", style="bold red")
    yield Text(f"{report.name} ") + verdict + Text(f": {counts}; {report.seconds:.0f} s")


def write_html(report: Report, path: str | Path) -> Path:
    """Write the report to an HTML file, which appears complete or not at all."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    for part in renderables(report):
        console.print(part)
    console.print(Text(", ".join(f"{name} {value}" for name, value in report.environment.items()), style="dim"))
    path = Path(path)
    write_text(path, console.export_html())
    return path


def _table(subject: str, rows: list[Row]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(subject), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("check", "of", "measured", "bound", "status", "found"):
        table.add_column(column, justify="right" if column in ("measured", "bound") else "left")
    section = None
    for row in rows:
        if section is not None and row.section != section:
            table.add_section()
        section = row.section
        numbers = ["" if value is None else f"{value:.2g}" for value in (row.measured, row.bound)]
        found = Text(row.detail) if row.detail else Text(row.title, style="dim")
        table.add_row(row.check, Text(f"{row.of} {row.dtype}".strip()), *numbers,
                      Text(row.status, style=_STYLES[row.status]), found)
    return table
