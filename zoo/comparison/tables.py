"""The tables of a comparison. Torch-free."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from zoo.comparison.result import Comparison, RunResult
from zoo.evaluation.tables import NONE, ResultTable

__all__ = ["BASELINE", "caption", "failures", "main_table", "size_table", "tables"]

BASELINE = "composition alone"


def tables(found: Comparison) -> Iterator[ResultTable]:
    """The main table, and the learning curve of every target."""
    yield main_table(found)
    if len(found.sizes) > 1:
        for target in found.targets:
            yield size_table(found, target)


def main_table(found: Comparison) -> ResultTable:
    """All models at the largest size: parameters, cost, errors, and how they differ; the smallest error is bold."""
    size = found.sizes[-1]
    header = ["model", "parameters", "cut-off / Å", "steps", "epochs", "time / s",
              *(["processor / s"] if found.by_processor else [])]
    errors = len(header)
    header += [f"{target} / {found.unit(target)}" for target in found.targets] + ["differs"]
    rows = []
    for entry in found.entries:
        runs = found.runs_of(entry.model, size)
        error = entry.error or next((r.error for r in found.failures if (r.model, r.size) == (entry.model, size)), None)
        remark = _short(f"failed: {error}") if error and not runs else "; ".join(entry.differs)
        values = [found.value(entry.model, target, size) for target in found.targets]
        rows.append([entry.model, *_cost(runs, errors - 1), *map(_number, values), remark])
    best = {(_best(found, target, size), errors + column) for column, target in enumerate(found.targets)}
    if any(size in found.baseline.get(target, {}) for target in found.targets):
        fits = (found.baseline.get(target, {}).get(size) for target in found.targets)
        rows.append([BASELINE, *[NONE] * (errors - 1), *(NONE if v is None else f"{v:.4g}" for v in fits), ""])
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    title = f"{'Test' if found.split == 'test' else 'Validation'} MAE with {size:,} training molecules"
    align = "l" + "r" * (errors - 1 + len(found.targets)) + "l"
    return ResultTable(title, header, rows, align, frozenset(place for place in best if place[0] >= 0))


def size_table(found: Comparison, target: str) -> ResultTable:
    """Errors of one target, one column for every training-set size."""
    rows = [[entry.model, *(_number(found.value(entry.model, target, size)) for size in found.sizes)]
            for entry in found.entries]
    best = {(_best(found, target, size), column) for column, size in enumerate(found.sizes, 1)}
    if found.baseline.get(target):
        values = (found.baseline[target].get(size) for size in found.sizes)
        rows.append([BASELINE, *(NONE if value is None else f"{value:.4g}" for value in values)])
    title = f"{target} / {found.unit(target)} against the number of training molecules"
    return ResultTable(title, ["model", *(f"{size:,}" for size in found.sizes)], rows,
                       bold=frozenset(place for place in best if place[0] >= 0))


def caption(found: Comparison) -> str:
    """The sentences below the tables: data, budget, recipe and what the errors mean."""
    steps, seconds = found.budget.get("steps"), found.budget.get("seconds")
    budget = " or ".join(part for part in (f"{steps:,} steps" if steps else "", f"{seconds:g} s" if seconds else "")
                         if part)
    spread = (f"Mean ± standard deviation over {len(found.seeds)} seeds." if len(found.seeds) > 1 else
              "One seed; ± half the 95 % interval of the mean over the test molecules.")
    recipe = found.recipe
    batch = ", ".join(f"{value} {name}" for name, value in recipe["batch"].items() if value)
    measured = "Errors are of the test split, measured once" if found.split == "test" else (
        "There is no test split: errors are of the validation split, which also selected the weights")
    clocks = ", as wall time and as processor time (all threads)" if found.by_processor else ""
    return (f"Data: {found.data}; the same molecules, in the same order, for every model; validated on "
            f"{found.counts['val']:,}, tested on {found.counts['test']:,}. Budget of every training: {budget}. "
            f"{spread} {measured}, with the weights of the lowest validation error. Recipe: "
            f"{recipe.get('optimizer', 'adamw')}, learning rate {recipe['lr']:g}, {recipe['schedule']['kind']} "
            f"schedule, batches of {batch}; the column 'differs' lists deviations. Time is that of training and "
            f"validation{clocks}, on {found.environment.get('device') or 'no device'}, torch "
            f"{found.environment.get('torch', '?')}. "
            f"'{BASELINE}' is a linear fit to the numbers of atoms of each element.")


def failures(found: Comparison) -> list[str]:
    """One line for every error, with the runs that failed by it."""
    runs: dict[tuple[str, str], list[RunResult]] = {}
    for run in found.failures:
        runs.setdefault((run.model, run.error or ""), []).append(run)
    number_of_runs = len(found.sizes) * len(found.seeds)
    lines = []
    for (model, error), failed in runs.items():
        which = "" if len(failed) == number_of_runs else " (" + ", ".join(
            f"{run.size} molecules, seed {run.seed}" for run in failed) + ")"
        lines.append(f"{model}{which}: {error}")
    return lines


def _cost(runs: Sequence[RunResult], columns: int) -> list[str]:
    if not runs:
        return [NONE] * columns
    steps, epochs, seconds, processor = (statistics.fmean(getattr(run, key) for run in runs)
                                         for key in ("steps", "epochs", "seconds", "processor"))
    return [f"{runs[0].parameters:,}", f"{runs[0].cutoff:g}", f"{steps:,.0f}", f"{epochs:.3g}", f"{seconds:.3g}",
            f"{processor:.3g}"][:columns]


def _number(value: tuple[float, float] | None) -> str:
    """The value and its uncertainty, rounded to two digits of the uncertainty."""
    if value is None:
        return NONE
    mean, spread = value
    if not spread > 0:
        return f"{mean:.4g}"
    decimals = min(6, max(0, 1 - math.floor(math.log10(spread))))
    return f"{mean:.{decimals}f} ± {spread:.{decimals}f}"


def _best(found: Comparison, target: str, size: int) -> int:
    """Row of the smallest error; −1 if fewer than two models have one."""
    values = [found.value(entry.model, target, size) for entry in found.entries]
    known = [(value[0], place) for place, value in enumerate(values) if value is not None]
    return min(known)[1] if len(known) > 1 else -1


def _short(text: str, width: int = 60) -> str:
    line = text.splitlines()[0]
    return line if len(line) <= width else line[:width - 1] + "…"
