"""`zoo check`: what every plugin must pass, as a table, JSON or HTML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.errors import ZooError

__all__ = ["check"]

_STYLES = {"pass": "green", "fail": "bold red", "exempt": "yellow", "not applicable": "dim"}


def check(
    name: Annotated[
        str | None, typer.Argument(help="An architecture, a model, a package, or a folder of a card or a plugin.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every architecture and every model at hand.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Sections or checks: --only physics --only engineering.overfit.")
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(help="Sections or checks to leave out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page as well.")] = None,
    failures: Annotated[bool, typer.Option("--failures", help="Show only what does not pass.")] = False,
) -> None:
    """Check an architecture or a model against everything the zoo promises. Status 2 if a row fails."""
    if (name is None) != everything:
        raise ZooError("say what to check, or --all: zoo check painn, zoo check painn-qm9, zoo check ./my-plugin")
    from zoo.conformance.find import find, find_all
    from zoo.conformance.html import write_html
    from zoo.conformance.run import check_subjects, chosen

    checks = chosen(only or (), skip or ())
    subjects, left_out = find_all() if name is None else (find(name), {})
    for model, reason in left_out.items():
        typer.echo(f"left out: {model}: {reason}", err=True)
    report = check_subjects(name or "the zoo", subjects, checks, _progress())
    if html is not None:
        write_html(report, html)
    if as_json:
        print(json.dumps(report.to_dict(), indent=1, ensure_ascii=False))
    else:
        _show(report, failures=failures)
    if not report.passed:
        raise typer.Exit(2)


def _progress() -> Any:
    """One line on standard error that says which check was done last; nothing when nobody looks."""
    import sys

    if not sys.stderr.isatty():
        return None
    return lambda row: print(f"\r\033[K{row.subject} {row.check}", end="\r", file=sys.stderr, flush=True)


def _show(report: Any, *, failures: bool) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from zoo.cli import console

    out = console()
    for subject in dict.fromkeys(row.subject for row in report.rows):
        table = Table(title=subject, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("check", "of", "measured", "bound", "status", "found"):
            table.add_column(column, justify="right" if column in ("measured", "bound") else "left")
        before = ""
        for row in report.rows:
            if row.subject != subject or (failures and row.status in ("pass", "not applicable")):
                continue
            if before and row.section != before:
                table.add_section()
            before = row.section
            numbers = ["" if value is None else f"{value:.2g}" for value in (row.measured, row.bound)]
            words = Text(row.detail) if row.detail else Text(row.title, style="dim")
            table.add_row(row.check, f"{row.of} {row.dtype}".strip(), *numbers,
                          Text(row.status, style=_STYLES[row.status]), words)
        out.print(table)
    counts = ", ".join(f"{number} {status}" for status, number in report.counts.items() if number)
    verdict = Text("conforms", style="bold green") if report.passed else Text("does not conform", style="bold red")
    out.print(Text(f"{report.name} ") + verdict + Text(f": {counts}; {report.seconds:.0f} s"))
