"""`zoo compare`: several families on the same data, the same split and the same budget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.errors import ZooError
from zoo.files.strict_json import json_text

if TYPE_CHECKING:
    from zoo.comparison.result import Comparison, RunResult

__all__ = ["compare"]


def compare(
    models: Annotated[list[str], typer.Argument(
        help="Architectures (painn, or painn:paper for another preset than small), models, or cards.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder; an existing comparison is continued.")] = Path(
        "comparison"),
    dataset: Annotated[str | None, typer.Option(help="Name of a data set; default: the bundled sample of QM9.")] = None,
    data: Annotated[Path | None, typer.Option(
        help="Folder or file of the data set; without --dataset, a saved store or a file of structures.")] = None,
    targets: Annotated[str, typer.Option(help="Targets: U0,gap; or mu=dipole to choose a readout.")] = "U0",
    sizes: Annotated[str | None, typer.Option(
        help="Numbers of training molecules: 100,1000; default: an eighth, a quarter, half, all.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of weights and batches: 0,1,2.")] = "0",
    steps: Annotated[int | None, typer.Option(help="Budget of each training in steps; default: 400.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Budget of each training in seconds.")] = None,
    test: Annotated[int | None, typer.Option(help="Largest number of molecules of the test split.")] = None,
    same_recipe: Annotated[
        bool, typer.Option("--same-recipe", help="Train all with the same recipe instead of those of their cards.")
    ] = False,
    overrides: Annotated[list[str] | None, typer.Option(
        "--set", help="Change a setting of all: --set batch.molecules=64, --set config.cutoff=4 (repeatable).")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda …; default: CUDA where there is one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on the screen.")] = False,
) -> None:
    """Train several models with the same budget on the same molecules; tables and pictures of their errors.

    Exit status 2 if a training failed, 130 after an interruption. Finished trainings are not repeated.
    """
    from zoo.comparison import compare as run

    found = run(models, out=out, dataset=dataset, data=data, targets=_words(targets), sizes=_numbers("sizes", sizes),
                seeds=_numbers("seeds", seeds) or (), steps=steps, seconds=seconds, test=test, same_recipe=same_recipe,
                overrides=overrides or (), device=device, progress=None if quiet else _report)
    if as_json:
        print(json_text(found.to_dict()))
    else:
        _show(found, out)
    if found.interrupted:
        typer.echo("interrupted: run the same command again to continue", err=True)
        raise typer.Exit(130)
    if found.failures:
        raise typer.Exit(2)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(option: str, text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(word.replace("_", "")) for word in _words(text)]
    except ValueError:
        raise ZooError(f"--{option} {text}: expected whole numbers separated by commas. Fix: write them like 0,1,2"
                       ) from None


def _report(run: RunResult, number: int, count: int) -> None:
    """One line per finished run."""
    head = f"[{number}/{count}] {run.model}, {run.size:,} molecules, seed {run.seed}: "
    if run.error is not None:
        words = f"failed: {run.error}"
    else:
        errors = [m for m in run.metrics if m["metric"] == "mae"]
        words = ", ".join(f"{m['target']} {m['value']:.4g} {m['unit']}" for m in errors)
        words += " (finished before)" if run.reused else f" ({run.steps:,} steps, {run.seconds:.1f} s)"
    print(head + words, file=sys.stderr, flush=True)


def _show(found: Comparison, out: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    from zoo.cli import console
    from zoo.comparison.tables import caption, failures, tables

    screen = console()
    for made in tables(found):
        table = Table(title=made.title, title_justify="left")
        for name, letter in zip(made.header, made.columns):
            table.add_column(name, justify="left" if letter == "l" else "right", **_keep(name))
        for number, row in enumerate(made.rows):
            table.add_row(*(Text(text, style="bold" if (number, column) in made.bold else "")
                            for column, text in enumerate(row)))
        screen.print(table)
    screen.print(Text(caption(found), style="dim"))
    for line in failures(found):
        screen.print(Text(f"failed: {line}", style="red"))
    names = ", ".join(sorted(path.name for path in out.iterdir() if path.is_file() and not path.name.startswith(".")))
    typer.echo(f"written to {out}: {names}", err=True)


def _keep(name: str) -> dict[str, Any]:
    """Only the column of remarks may wrap."""
    return {} if name == "differs" else {"no_wrap": True}
