"""All cells of a comparison, one after the other; finished ones are read, interrupted ones go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from zoo.comparison.cell import Task, perform
from zoo.comparison.contestants import Contestant, find_contestants
from zoo.comparison.ground import Ground, baseline, default_sizes, open_ground
from zoo.comparison.question import Question, ask, differences, paced
from zoo.comparison.result import Cell, Comparison, Row
from zoo.comparison.writing import write
from zoo.errors import TrainingError, ZooError
from zoo.process import machine

__all__ = ["run"]


def run(models: Sequence[str | Path], *, out: Path, dataset: str | None, data: str | Path | None,
        targets: Sequence[str], sizes: Sequence[int] | None, seeds: Sequence[int], steps: int | None,
        seconds: float | None, test: int | None, same_recipe: bool, overrides: Sequence[str], device: str | None,
        progress: Callable[[Cell, int, int], None] | None) -> Comparison:
    """See :func:`zoo.comparison.compare`."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise TrainingError("zoo compare is one process: leave out torchrun")
    if not seeds:
        raise TrainingError("no seed: leave --seeds out, or name some")
    contestants = find_contestants(models)
    question = ask(dataset=dataset, path=None if data is None else Path(data), targets=targets, steps=steps,
                   seconds=seconds, same_recipe=same_recipe, overrides=overrides)
    rows = [_row(contestant, question) for contestant in contestants]
    machine.prepare()
    ground = open_ground(question, path=None if "path" in question.data else data, sizes=sizes, test=test)
    question = paced(question, len(ground.val))
    chosen = sorted(set(sizes or default_sizes(len(ground.train))))
    tasks = [Task(contestant, size, seed) for size in chosen for seed in dict.fromkeys(seeds)
             for contestant in contestants]
    with _alone(out):
        cells, interrupted = _perform(tasks, question, ground, out, device, progress)
        found = Comparison(
            data=ground.name, counts={"val": len(ground.val), "test": len(ground.test)}, targets=tuple(question.labels),
            sizes=tuple(chosen), seeds=tuple(dict.fromkeys(seeds)), recipe=question.recipe, rows=tuple(rows),
            budget={"steps": question.steps, "seconds": question.seconds}, cells=tuple(cells),
            baseline=_baselines(ground, question, chosen), environment=_environment(cells), interrupted=interrupted)
        write(found, out)
    return found


def _row(contestant: Contestant, question: Question) -> Row:
    if contestant.error is not None:
        return Row(model=contestant.name, error=contestant.error)
    try:
        differs = differences(contestant, question)
    except ZooError as error:
        return Row(model=contestant.name, architecture=contestant.architecture, error=str(error))
    return Row(model=contestant.name, architecture=contestant.architecture, differs=tuple(differs))


def _perform(tasks: Sequence[Task], question: Question, ground: Ground, out: Path, device: str | None,
             progress: Callable[[Cell, int, int], None] | None) -> tuple[list[Cell], bool]:
    """The cells, and whether somebody interrupted."""
    cells: list[Cell] = []
    for number, task in enumerate(tasks, 1):
        try:
            cell = perform(task, question, ground, out, device)
        except KeyboardInterrupt:
            cell = None
        if cell is None:
            return cells, True
        cells.append(cell)
        if progress is not None:
            progress(cell, number, len(tasks))
    return cells, False


def _baselines(ground: Ground, question: Question, sizes: Sequence[int]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for name in question.labels:
        factor = 1000.0 if ground.store.units[name].startswith("eV") else 1.0
        values = {size: baseline(ground, size, name) for size in sizes}
        found[name] = {size: float(f"{factor * value:.5g}") for size, value in values.items() if value is not None}
    return found


def _environment(cells: Sequence[Cell]) -> dict[str, Any]:
    devices = dict.fromkeys(cell.device for cell in cells if cell.device)
    return {"geometric-zoo": version("geometric-zoo"), "torch": str(torch.__version__), "device": ", ".join(devices)}


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """The folder is ours alone.

    Raises:
        TrainingError: another comparison is running in it.
    """
    from filelock import FileLock, Timeout

    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise TrainingError(f"another comparison is running in {out}: wait for it, or name another folder") from None
    try:
        yield
    finally:
        lock.release()
