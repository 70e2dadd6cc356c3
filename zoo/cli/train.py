"""`zoo train`: from a card to trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["train"]


def train(
    card: Annotated[str, typer.Argument(help="Path of a card, or name of a model whose recipe is followed.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Change the card: --set training.lr=3e-4 (repeatable).")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Where the data set lies, or a file of structures.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …; default: CUDA where there is one.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    fast_dev_run: Annotated[bool, typer.Option("--fast-dev-run", help="Two steps of everything, then stop.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train although the references look absurd.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on the screen.")] = False,
) -> None:
    """Train the model that a card describes; the weights and a card of its own appear in the folder."""
    from zoo.training import train as run

    run(card, out=out, overrides=overrides or [], data=data, device=device, resume=resume, fast_dev_run=fast_dev_run,
        force=force, quiet=quiet)
