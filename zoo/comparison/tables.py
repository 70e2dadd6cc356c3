"""The tables that a paper would print, as rows of text. Torch-free."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zoo.comparison.result import Cell, Comparison

__all__ = ["BASELINE", "Table", "caption", "failures", "main_table", "size_table", "tables"]

BASELINE = "composition alone"
_NONE = "–"


@dataclass(frozen=True)
class Table:
    """Text in rows. ``best``: places (row, column) of the smallest error of a column."""

    title: str
    head: list[str]
    rows: list[list[str]]
    best: frozenset[tuple[int, int]] = frozenset()


def tables(found: Comparison) -> Iterator[Table]:
    """The main table, and the learning curve of every target."""
    yield main_table(found)
    if len(found.sizes) > 1:
        for target in found.targets:
            yield size_table(found, target)


def main_table(found: Comparison) -> Table:
    """Everyone at the largest size: what it is, what it cost, how well it did, what was not the same."""
    size = found.sizes[-1]
    head = ["model", "parameters", "cut-off / Å", "steps", "epochs", "time / s",
            *(["processor / s"] if found.by_processor else [])]
    errors = len(head)
    head += [f"{target} / {found.unit(target)}" for target in found.targets] + ["differs"]
    rows = []
    for row in found.rows:
        cells = found.cells_of(row.model, size)
        error = row.error or next((c.error for c in found.failures if (c.model, c.size) == (row.model, size)), None)
        remark = _short(f"failed: {error}") if error and not cells else "; ".join(row.differs)
        values = [found.value(row.model, target, size) for target in found.targets]
        rows.append([row.model, *_cost(cells, errors - 1), *map(_number, values), remark])
    best = {(_best(found, target, size), errors + column) for column, target in enumerate(found.targets)}
    if any(size in found.baseline.get(target, {}) for target in found.targets):
        fits = (found.baseline.get(target, {}).get(size) for target in found.targets)
        rows.append([BASELINE, *[_NONE] * (errors - 1), *(_NONE if v is None else f"{v:.4g}" for v in fits), ""])
    if not any(row[-1] for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    title = f"{'Test' if found.split == 'test' else 'Validation'} MAE with {size:,} training molecules"
    return Table(title, head, rows, frozenset(place for place in best if place[0] >= 0))


def size_table(found: Comparison, target: str) -> Table:
    """Errors of one target, a column for every training-set size."""
    rows = [[row.model, *(_number(found.value(row.model, target, size)) for size in found.sizes)]
            for row in found.rows]
    best = {(_best(found, target, size), column) for column, size in enumerate(found.sizes, 1)}
    if found.baseline.get(target):
        values = (found.baseline[target].get(size) for size in found.sizes)
        rows.append([BASELINE, *(_NONE if value is None else f"{value:.4g}" for value in values)])
    title = f"{target} / {found.unit(target)} against the number of training molecules"
    return Table(title, ["model", *(f"{size:,}" for size in found.sizes)], rows,
                 frozenset(place for place in best if place[0] >= 0))


def caption(found: Comparison) -> str:
    """What is needed to read the tables, in sentences."""
    steps, seconds = found.budget.get("steps"), found.budget.get("seconds")
    budget = " or ".join(part for part in (f"{steps:,} steps" if steps else "", f"{seconds:g} s" if seconds else "")
                         if part)
    spread = (f"Mean ± standard deviation over {len(found.seeds)} seeds." if len(found.seeds) > 1 else
              "One seed; ± half the 95 % interval of the mean over the test molecules.")
    recipe = found.recipe
    batch = ", ".join(f"{value} {name}" for name, value in recipe["batch"].items() if value)
    measured = "Errors are of the test split, measured once" if found.split == "test" else (
        "There is no test split: errors are of the validation split, which also chose the weights")
    clocks = ", by the clock and by the processor (all threads)" if found.by_processor else ""
    return (f"Data: {found.data}; the same molecules, in the same order, for every model; validated on "
            f"{found.counts['val']:,}, tested on {found.counts['test']:,}. Budget of every training: {budget}. "
            f"{spread} {measured}, with the weights that did best in validation. Recipe: "
            f"{recipe.get('optimizer', 'adamw')}, learning rate {recipe['lr']:g}, {recipe['schedule']['kind']} "
            f"schedule, batches of {batch}; what was not the same stands under 'differs'. Time is of training with "
            f"validation{clocks}, on {found.environment.get('device') or 'no device'}, torch "
            f"{found.environment.get('torch', '?')}. "
            f"'{BASELINE}' is a linear fit to the numbers of atoms of each element.")


def failures(found: Comparison) -> list[str]:
    """One line for every error, with how many cells it cost."""
    cells: dict[tuple[str, str], list[Cell]] = {}
    for cell in found.failures:
        cells.setdefault((cell.model, cell.error or ""), []).append(cell)
    everything = len(found.sizes) * len(found.seeds)
    lines = []
    for (model, error), lost in cells.items():
        which = "" if len(lost) == everything else " (" + ", ".join(
            f"{cell.size} molecules, seed {cell.seed}" for cell in lost) + ")"
        lines.append(f"{model}{which}: {error}")
    return lines


def _cost(cells: Sequence[Cell], columns: int) -> list[str]:
    if not cells:
        return [_NONE] * columns
    steps, epochs, seconds, processor = (statistics.fmean(getattr(cell, key) for cell in cells)
                                         for key in ("steps", "epochs", "seconds", "processor"))
    return [f"{cells[0].parameters:,}", f"{cells[0].cutoff:g}", f"{steps:,.0f}", f"{epochs:.3g}", f"{seconds:.3g}",
            f"{processor:.3g}"][:columns]


def _number(value: tuple[float, float] | None) -> str:
    """Two digits of the uncertainty, and the value as far."""
    if value is None:
        return _NONE
    mean, spread = value
    if not spread > 0:
        return f"{mean:.4g}"
    decimals = min(6, max(0, 1 - math.floor(math.log10(spread))))
    return f"{mean:.{decimals}f} ± {spread:.{decimals}f}"


def _best(found: Comparison, target: str, size: int) -> int:
    """Row of the smallest error; −1 if there is none, or nobody to be better than."""
    values = [found.value(row.model, target, size) for row in found.rows]
    known = [(value[0], place) for place, value in enumerate(values) if value is not None]
    return min(known)[1] if len(known) > 1 else -1


def _short(text: str, width: int = 60) -> str:
    line = text.splitlines()[0]
    return line if len(line) <= width else line[:width - 1] + "…"
