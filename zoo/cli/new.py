"""`zoo new`: a complete package for a new architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["new"]


def new(
    name: Annotated[str, typer.Argument(help="Name of the architecture: lower-case words joined by hyphens.")],
    parent: Annotated[Path, typer.Option("--in", help="Folder in which the package is created.")] = Path("."),
) -> None:
    """Write an installable package with a working network, a card, tests and a CI file."""
    from zoo.scaffold import new_package

    folder = new_package(name, parent)
    typer.echo(f"{folder} is written. Next:\n"
               f"  pip install -e {folder}\n"
               f"  zoo check {name}\n"
               f"  zoo train {name}-qm9 --out runs/{name}")
