"""`zoo predict --output FOLDER/`: tables of very many structures, in shards."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zoo.process.progress import progress

if TYPE_CHECKING:
    from zoo.inference.shards import Job, Summary
    from zoo.structures.smiles_files import SmilesLine

__all__ = ["predict_into"]


def predict_into(folder: Path, job: Job, lines: Iterable[SmilesLine], of: int, *, files: Sequence[Path],
                 smiles_file: Path | None, engine: str, share: tuple[int, int], workers: int, shard: int, quiet: bool
                 ) -> Summary:
    """Compute what the folder lacks, and report what it holds.

    Args:
        folder: where shards are, or will be.
        job: what is computed.
        lines: SMILES, after the structures of ``files``.
        of: how many lines.
        files: of structures.
        smiles_file: where the lines are from.
        engine, share, workers, shard: see :func:`zoo.inference.shards.predict_shards`.
        quiet: no progress and no notes.
    """
    from zoo.inference.shards import predict_shards
    from zoo.structures.reading import read_structures

    done = 0
    with progress("predict", "structures", quiet=quiet) as report:

        def tell(more: int) -> None:
            nonlocal done
            done += more
            report(done, max(done, of))

        existing = [file for file in files if file.is_file()] + ([smiles_file] if smiles_file is not None else [])
        summary = predict_shards(chain(read_structures(files), lines), existing, folder, job, engine=engine,
                                 workers=workers, shard=shard, share=share, progress=tell)
    if summary.failed:
        listed = f", listed in {folder / 'failed.csv'}" if summary.shards == summary.of else ""
        typer.secho(f"{summary.failed:,} of {summary.rows:,} structures failed{listed}", fg="red", err=True)
    if not quiet:
        rest = "" if summary.shards == summary.of else f" of {summary.of:,}; others are computed elsewhere, or missing"
        typer.echo(f"{folder} holds {summary.rows:,} structures in {summary.shards:,} shards{rest}", err=True)
    sys.stderr.flush()
    return summary
