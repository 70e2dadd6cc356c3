"""`zoo train` and `zoo finetune`: from a card, or a trained model and a file, to trained weights."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["finetune", "train"]

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change the card: --set recipe.lr=3e-4 (repeatable).")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 …; default: CUDA where there is one.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in --out, if there is one.")]
DevRun = Annotated[bool, typer.Option("--fast-dev-run", help="Two steps of everything, then a report.")]
Freeze = Annotated[
    list[str] | None, typer.Option(help="Parameters that are not trained, such as 'backbone.*' (repeatable).")
]
Scale = Annotated[float | None, typer.Option(help="Factor on the recipe's learning rate.")]
Force = Annotated[bool, typer.Option("--force", help="Train even if the reference energies fit implausibly badly.")]
Measure = Annotated[bool, typer.Option(help="At the end, write test metrics into the card and draw pictures.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


def train(
    card: Annotated[str, typer.Argument(help="Path of a card, or name of a model to train again with its recipe.")],
    out: Out,
    overrides: Overrides = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder or file of the card's data set, or another file of structures.")
    ] = None,
    device: Device = None,
    resume: Resume = False,
    fast_dev_run: DevRun = False,
    start: Annotated[str | None, typer.Option("--from", help="Start from the weights of this model.")] = None,
    freeze: Freeze = None,
    lr_scale: Scale = None,
    force: Force = False,
    measure: Measure = True,
    quiet: Quiet = False,
) -> None:
    """Train the model that a card describes; write weights, metrics and a new card into a folder.

    Several processes: torchrun --nproc-per-node N -m zoo train …
    """
    from zoo.training.prepare import read_card
    from zoo.training.run import Options, run

    changes = [*(overrides or []), *_shorthands(start, freeze)]
    description = read_card(card, changes)
    if lr_scale is not None:
        description = read_card(description, [f"recipe.lr={description.recipe.get('lr', 1e-3) * lr_scale!r}"])
    run(description, out, Options(data=data, device=device, resume=resume, fast_dev_run=fast_dev_run, force=force,
                                  measure=measure, quiet=quiet, command=_command()))


def finetune(
    name: Annotated[str, typer.Argument(help="Name of a trained model, or a card folder.")],
    file: Annotated[Path, typer.Argument(help="Structures with labels, in any format that ASE reads.")],
    out: Out,
    target: Annotated[
        list[str] | None, typer.Option(help="A target and its key in the file: energy=E (repeatable).")
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(help="Unit of a target in the file: energy=kcal/mol (repeatable).")
    ] = None,
    forces: Annotated[str | None, typer.Option(help="Key of the forces in the file.")] = None,
    stress: Annotated[str | None, typer.Option(help="Key of the stress in the file.")] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Structures that the model labels itself and learns with the others, so that it "
                                       "keeps what it knew of them.")
    ] = None,
    val: Annotated[int | None, typer.Option(help="Number of structures for validation; default: a tenth.")] = None,
    test: Annotated[int | None, typer.Option(help="Number of structures for testing; default: a tenth.")] = None,
    overrides: Overrides = None,
    device: Device = None,
    resume: Resume = False,
    fast_dev_run: DevRun = False,
    freeze: Freeze = None,
    lr_scale: Scale = None,
    force: Force = False,
    measure: Measure = True,
    quiet: Quiet = False,
) -> None:
    """Fine-tune a trained model on your own structures; the result is a card folder."""
    from zoo.training.finetune import finetune_card
    from zoo.training.prepare import read_card
    from zoo.training.run import Options, run

    if replay is not None:
        from zoo.training.replay import with_replay

        joined = out.with_name(f"{out.name}-with-replay.extxyz")
        file = joined if resume and joined.is_file() else with_replay(name, file, replay, joined, device=device)
    card = finetune_card(name, file, targets=target or [], units=unit or [], forces=forces, stress=stress)
    split = {key: value for key, value in (("val", val), ("test", test)) if value is not None}
    changes = [f"data.split.{key}={value}" for key, value in split.items()]
    if lr_scale is not None:
        changes.append(f"recipe.lr={card.recipe['lr'] * lr_scale!r}")
    card = read_card(card, [*changes, *_shorthands(None, freeze), *(overrides or [])])
    run(card, out, Options(device=device, resume=resume, fast_dev_run=fast_dev_run, force=force,
                           measure=measure, quiet=quiet, command=_command()))


def _shorthands(start: str | None, freeze: list[str] | None) -> list[str]:
    changes = [] if start is None else [f"recipe.from={start}"]
    return changes + ([f"recipe.freeze=[{', '.join(repr(p) for p in freeze)}]"] if freeze else [])


def _command() -> str:
    """The command that was typed, with --resume."""
    words = ["zoo", *sys.argv[1:]]
    return shlex.join(words if "--resume" in words else [*words, "--resume"])
