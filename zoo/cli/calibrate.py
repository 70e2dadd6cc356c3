"""`zoo calibrate`: error estimates for a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["calibrate"]


def calibrate(
    name: Annotated[str, typer.Argument(help="Name of a trained model, or a card folder.")],
    data: Annotated[Path | None, typer.Option(help="Folder or file of the card's data set.")] = None,
    sample: Annotated[
        int, typer.Option(min=100, help="Largest number of training and of validation structures.")
    ] = 10_000,
    level: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Share of errors that the interval is to contain.")
    ] = 0.9,
    flag: Annotated[
        list[str] | None, typer.Option(help="Kind of structures of the data set that is to be flagged (repeatable).")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Then measure the model and its intervals, as zoo evaluate --write does.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda …")] = None,
) -> None:
    """Fit error estimates on the training and validation split of a model; they are stored next to its weights."""
    from zoo.cli.evaluate import into_card, show
    from zoo.cli.writing import check_writable
    from zoo.evaluation.evaluation import evaluate as measure
    from zoo.loading import models as loading
    from zoo.process import machine
    from zoo.process.progress import progress
    from zoo.uncertainty import FILE
    from zoo.uncertainty.calibrate import calibrate as fit
    from zoo.uncertainty.calibrate import write

    machine.prepare()
    model = loading.load(name, device=device)
    check_writable(model.required_card)
    with progress("calibrate", "structures") as report:
        error_model = fit(model, data=data, sample=sample, level=level, flag=flag or (), progress=report)
    card = model.card = write(error_model, model.required_card)
    typer.echo(f"error estimates written next to the weights: {FILE}, and into {card.path}", err=True)
    if evaluate:
        with progress("evaluate", "structures") as report:
            result = measure(model, data=data, progress=report)
        show(result, breakdown=False)
        into_card(card, result)
    else:
        typer.echo(f"how well they hold on the test split: zoo evaluate {name} --write", err=True)
