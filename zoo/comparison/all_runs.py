"""All runs of a comparison, one after the other; finished runs are read, interrupted runs are resumed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from zoo.comparison.dataset import SharedDataset, baseline, default_sizes, open_shared
from zoo.comparison.entries import ComparisonEntry, find_entries
from zoo.comparison.one_run import PlannedRun, perform_run
from zoo.comparison.result import Comparison, EntrySummary, RunResult
from zoo.comparison.setup import Setup, differences, make_setup, with_validation_interval
from zoo.comparison.writing import write
from zoo.errors import TrainingError, ZooError
from zoo.files.locks import locked
from zoo.process import machine

__all__ = ["run_all"]


def run_all(models: Sequence[str | Path], *, out: Path, dataset: str | None, data: str | Path | None,
            targets: Sequence[str], sizes: Sequence[int] | None, seeds: Sequence[int], steps: int | None,
            seconds: float | None, test: int | None, same_recipe: bool, overrides: Sequence[str], device: str | None,
            progress: Callable[[RunResult, int, int], None] | None) -> Comparison:
    """See :func:`zoo.comparison.compare`."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise TrainingError("zoo compare runs in one process. Fix: start it without torchrun")
    if not seeds:
        raise TrainingError("no seed was given. Fix: leave --seeds out, or give at least one number")
    entries = find_entries(models)
    setup = make_setup(dataset=dataset, path=None if data is None else Path(data), targets=targets, steps=steps,
                       seconds=seconds, same_recipe=same_recipe, overrides=overrides)
    summaries = [_summary(entry, setup) for entry in entries]
    machine.prepare()
    shared = open_shared(setup, path=None if "path" in setup.data else data, sizes=sizes, test=test)
    setup = with_validation_interval(setup, len(shared.val))
    chosen = sorted(set(sizes or default_sizes(len(shared.train))))
    planned = [PlannedRun(entry, size, seed) for size in chosen for seed in dict.fromkeys(seeds) for entry in entries]
    with locked(out.resolve(), seconds=0, error=TrainingError):
        runs, interrupted = _perform(planned, setup, shared, out, device, progress)
        found = Comparison(
            data=shared.name, counts={"val": len(shared.val), "test": len(shared.test)}, targets=tuple(setup.labels),
            sizes=tuple(chosen), seeds=tuple(dict.fromkeys(seeds)), recipe=setup.recipe, entries=tuple(summaries),
            budget={"steps": setup.steps, "seconds": setup.seconds}, runs=tuple(runs),
            baseline=_baselines(shared, setup, chosen), environment=_environment(runs), interrupted=interrupted)
        write(found, out)
    return found


def _summary(entry: ComparisonEntry, setup: Setup) -> EntrySummary:
    if entry.error is not None:
        return EntrySummary(model=entry.name, error=entry.error)
    try:
        differs = differences(entry, setup)
    except ZooError as error:
        return EntrySummary(model=entry.name, architecture=entry.architecture, error=str(error))
    return EntrySummary(model=entry.name, architecture=entry.architecture, differs=tuple(differs))


def _perform(planned: Sequence[PlannedRun], setup: Setup, shared: SharedDataset, out: Path, device: str | None,
             progress: Callable[[RunResult, int, int], None] | None) -> tuple[list[RunResult], bool]:
    """The results, and whether the comparison was interrupted."""
    runs: list[RunResult] = []
    for number, one in enumerate(planned, 1):
        try:
            result = perform_run(one, setup, shared, out, device)
        except KeyboardInterrupt:
            result = None
        if result is None:
            return runs, True
        runs.append(result)
        if progress is not None:
            progress(result, number, len(planned))
    return runs, False


def _baselines(shared: SharedDataset, setup: Setup, sizes: Sequence[int]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for name in setup.labels:
        factor = 1000.0 if shared.store.units[name].startswith("eV") else 1.0
        values = {size: baseline(shared, size, name) for size in sizes}
        found[name] = {size: float(f"{factor * value:.5g}") for size, value in values.items() if value is not None}
    return found


def _environment(runs: Sequence[RunResult]) -> dict[str, Any]:
    devices = dict.fromkeys(run.device for run in runs if run.device)
    return {"geometric-zoo": version("geometric-zoo"), "torch": str(torch.__version__), "device": ", ".join(devices)}
