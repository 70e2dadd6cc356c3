"""`zoo check`: what every plugin must pass, as a table, JSON or HTML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.errors import ZooError

__all__ = ["check"]


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
        raise ZooError("name what to check, or give --all. Fix: zoo check painn, zoo check painn-qm9 or "
                       "zoo check ./my-plugin")
    from zoo.cli import console
    from zoo.conformance.find import find, find_all
    from zoo.conformance.rendering import renderables, write_html
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
        for part in renderables(report, failures=failures):
            console().print(part)
    if not report.passed:
        raise typer.Exit(2)


def _progress() -> Any:
    """One line on standard error that says which check was done last; nothing when nobody looks."""
    import sys

    if not sys.stderr.isatty():
        return None
    return lambda row: print(f"\r\033[K{row.subject} {row.check}", end="\r", file=sys.stderr, flush=True)
