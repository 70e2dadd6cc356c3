"""`zoo lab stability, drift, eos, reach`: how a force field bears being run, as JSON, and into its card."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.options import Compile
from zoo.errors import CardError, ZooError

if TYPE_CHECKING:
    import ase

    from zoo.model import Model

__all__ = ["add_to"]

Name = Annotated[str, typer.Argument(help="A model of `zoo list`, a card folder, or hf:org/repo[@rev].")]
File = Annotated[Path, typer.Argument(help="A structure; the first where the file holds several.")]
Write = Annotated[bool, typer.Option("--write", help="Also write the figures into the card of a card folder.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="float32 or float64.")]


def add_to(lab: typer.Typer) -> None:
    """Hang the commands into ``zoo lab``."""
    for name, command in (("stability", stability), ("drift", drift), ("eos", eos), ("reach", reach)):
        lab.command(name)(command)


def stability(
    name: Name,
    file: File,
    data: Annotated[Path | None, typer.Option(help="Frames of the same molecule, to compare bond lengths.")] = None,
    temperatures: Annotated[str, typer.Option(help="K, separated by commas.")] = "300,600",
    seeds: Annotated[int, typer.Option(min=1, help="Runs at each temperature.")] = 10,
    picoseconds: Annotated[float, typer.Option(help="Length of each run.")] = 10.0,
    timestep: Annotated[float, typer.Option(help="fs.")] = 0.5,
    write: Write = False,
    device: Device = None,
    dtype: Dtype = "float32",
    compile: Compile = False,
) -> None:
    """How many of many NVT runs keep their bonds, and how long these are."""
    from zoo.simulation import stability as measure

    model = _load(name, device, dtype)
    frames = [] if data is None else _frames(data)
    with _progress("NVT") as progress:
        result = measure(model, _frames(file)[0], temperatures=_numbers(temperatures), seeds=seeds,
                         picoseconds=picoseconds, timestep=timestep, data=frames, compile=compile, progress=progress)
    _out(model, "nvt", result, write)


def drift(
    name: Name,
    file: File,
    temperature: Annotated[float, typer.Option(help="K.")] = 300.0,
    picoseconds: Annotated[float, typer.Option(help="Length of the run.")] = 10.0,
    timestep: Annotated[float, typer.Option(help="fs.")] = 0.5,
    seeds: Annotated[int, typer.Option(min=1, help="Runs, all in one batch; the worst counts.")] = 1,
    equilibrate: Annotated[float, typer.Option(help="ps of NVT before it.")] = 1.0,
    write: Write = False,
    device: Device = None,
    dtype: Dtype = "float64",
    compile: Compile = False,
) -> None:
    """How well NVE dynamics conserves energy."""
    from zoo.simulation import energy_drift

    model = _load(name, device, dtype)
    with _progress("NVE") as progress:
        result = energy_drift(model, _frames(file)[0], temperature=temperature, picoseconds=picoseconds,
                              timestep=timestep, seeds=seeds, equilibrate=equilibrate, compile=compile,
                              progress=progress)
    _out(model, "nve", result, write)


def eos(
    name: Name,
    file: File,
    strain: Annotated[float, typer.Option(help="Largest relative change of a length.")] = 0.03,
    points: Annotated[int, typer.Option(min=5, help="Volumes.")] = 11,
    write: Write = False,
    device: Device = None,
    dtype: Dtype = "float64",
) -> None:
    """Lattice constant and bulk modulus of a crystal."""
    from zoo.simulation import equation_of_state

    model = _load(name, device, dtype)
    _out(model, "equation_of_state", equation_of_state(model, _frames(file)[0], strain=strain, points=points), write)


def reach(
    data: Annotated[Path, typer.Argument(help="The frames a model was trained on.")],
    one_molecule: Annotated[bool, typer.Option("--one-molecule", help="All frames are one molecule with its atoms in "
                                                                      "one order: follow its bonds.")] = False,
) -> None:
    """Bond lengths and forces of training frames, for ``domain`` of a card."""
    from zoo.simulation import training_reach

    frames = _frames(data)
    typer.echo(json.dumps(training_reach(frames, reference=frames[0] if one_molecule else None), indent=1))


def _load(name: str, device: str | None, dtype: str) -> Model:
    from zoo.loading import load
    from zoo.training import machine

    machine.keep_memory()
    return load(name, device=device, dtype=dtype)


def _frames(file: Path) -> list[ase.Atoms]:
    from zoo.structures import read_structures

    reads = list(read_structures([file]))
    for read in reads:
        if read.error is not None:
            raise read.error
    return [read.atoms for read in reads if read.atoms is not None]


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ZooError(f"--temperatures {text!r}: expected numbers separated by commas") from None


def _out(model: Model, key: str, result: dict[str, Any], write: bool) -> None:
    typer.echo(json.dumps(result, indent=1, ensure_ascii=False))
    if not write:
        return
    card = model.card
    if card is None or card.path is None:
        raise CardError("--write needs a model from a card folder")
    known = card.stability if isinstance(card.stability, dict) else {}
    card.replace(stability={**known, key: result}).save(card.path)
    typer.echo(f"wrote stability.{key} into {card.path}", err=True)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from zoo.cli import errors

    screen = errors()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"),
               TimeRemainingColumn())
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def tell(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        yield tell
