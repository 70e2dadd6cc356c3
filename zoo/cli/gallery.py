"""`zoo gallery`: the models of all registries as static pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["gallery"]


def gallery(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; it opens in a browser from the disk.")],
) -> None:
    """Write a gallery of all models: a list with filters and comparison, and a page for each."""
    from rich.text import Text

    from zoo.cli import errors
    from zoo.gallery import write_gallery

    count, problems = write_gallery(out)
    for problem in problems:
        errors().print(Text(f"left out: {problem}", style="yellow"), soft_wrap=True)
    typer.echo(f"{count} models: {out / 'index.html'}")
