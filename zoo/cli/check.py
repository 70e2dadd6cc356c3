"""`zoo check`: what every plugin must pass, as a table, JSON or HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.errors import ZooError
from zoo.files.strict_json import json_text

__all__ = ["check"]


def check(
    name: Annotated[
        str | None, typer.Argument(help="An architecture, a model, a package, or the folder of a card or a plugin.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every installed architecture and every model on this machine.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Sections or checks: --only physics --only engineering.overfit.")
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(help="Sections or checks to leave out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write an HTML page.")] = None,
    failures: Annotated[bool, typer.Option("--failures", help="Show only checks that do not pass.")] = False,
) -> None:
    """Run the conformance checks on an architecture or a model. Exit status 2 if a check fails."""
    if (name is None) != everything:
        raise ZooError("name what to check, or give --all. Fix: zoo check painn, zoo check painn-qm9 or "
                       "zoo check ./my-plugin")
    from zoo.cli import console
    from zoo.conformance.find import find, find_all
    from zoo.conformance.rendering import renderables, write_html
    from zoo.conformance.run import check_subjects, chosen
    from zoo.files.atomic_writes import keep_older

    checks = chosen(only or (), skip or ())
    subjects, left_out = find_all() if name is None else (find(name), {})
    for model, reason in left_out.items():
        typer.echo(f"left out: {model}: {reason}", err=True)
    report = check_subjects(name or "the zoo", subjects, checks, _progress())
    if html is not None:
        with keep_older(html):
            write_html(report, html)
    if as_json:
        print(json_text(report.to_dict()))
    else:
        for part in renderables(report, failures=failures):
            console().print(part)
    if not report.passed:
        raise typer.Exit(2)


def _progress() -> Any:
    """One line on standard error with the latest check, if it is a terminal."""
    import sys

    if not sys.stderr.isatty():
        return None
    return lambda row: print(f"\r\033[K{row.subject} {row.check}", end="\r", file=sys.stderr, flush=True)
