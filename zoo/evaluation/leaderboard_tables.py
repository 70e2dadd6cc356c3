"""The tables of a leaderboard. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.cards.card import Card
from zoo.cards.measured import Breakdown
from zoo.evaluation.leaderboard import Board, LeaderboardEntry
from zoo.evaluation.tables import NONE, ResultTable

__all__ = ["markdown", "tables"]

_HOURS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_HEADLINES = ("energy", "U0")


def tables(board: Board) -> list[ResultTable]:
    """All tables of a board that have rows; the errors come first."""
    errors = _force_field(board) if board.is_force_field else _properties(board)
    made = [errors, _cost(board), _intervals(board), *_breakdowns(board), _curves(board)]
    return [table for table in made if table is not None and table.rows]


def markdown(board: Board) -> str:
    """A board as a section of a page."""
    parts = [f"## {board.label}\n"]
    for table in tables(board):
        parts += [f"**{table.title}**\n", f"{table.markdown()}\n", *(f"{note}\n" for note in table.notes)]
    return "\n".join(parts)


# -- errors ------------------------------------------------------------------------------------------------------------


def _properties(board: Board) -> ResultTable:
    """One row for each target, one column for each model and paper."""
    header = ["target", "unit", *(m.name for m in board.models), *(f"{p.name}¹" for p in board.published)]
    rows = [[target, board.unit(target), *(_number(m.value(target)) for m in board.models),
             *(_number(p.values.get(target)) for p in board.published)] for target in board.targets]
    return ResultTable(f"MAE on {_splits(board)}", header, rows, align="llr", notes=_paper_notes(board))


def _force_field(board: Board) -> ResultTable:
    """One row for each model and paper: MAE and RMSE of energies and derivatives."""
    pairs = [(target, metric) for target in board.targets for metric in ("mae", "rmse")]
    header = ["model", "split", *(f"{target} {metric.upper()}, {board.unit(target)}" for target, metric in pairs)]
    rows = [[m.name, f"{m.split}, {_count(m)}", *(_number(m.value(*pair)) for pair in pairs)] for m in board.models]
    rows += [[f"{p.name}¹", "its own", *(_number(p.values.get(target)) if metric == p.metric else NONE
                                         for target, metric in pairs)] for p in board.published]
    return ResultTable("Errors of energies and their derivatives", header, rows, align="llr", notes=_paper_notes(board))


def _paper_notes(board: Board) -> tuple[str, ...]:
    notes = dict.fromkeys(p.note for p in board.published)
    cited: dict[str, list[str]] = {}
    for paper in board.published:
        cited.setdefault(paper.citation, []).append(paper.name)
    if not cited:
        return ()
    sources = "; ".join(f"{', '.join(names)}: {citation}" for citation, names in cited.items())
    return (f"¹ As published, not measured here. Differences: {'; '.join(notes)}. {sources}.",)


def _splits(board: Board) -> str:
    names = dict.fromkeys(f"{m.split} ({_count(m)})" for m in board.models)
    return ", ".join(names)


def _count(model: LeaderboardEntry) -> str:
    # n of forces counts atoms, so take the first target of the card, which has one value a structure.
    first = next(iter(model.card.targets))
    n = [m.n for (target, _), m in model.metrics.items() if target == first]
    return f"{n[0]:,} structures" if n else "no structures"


# -- cost --------------------------------------------------------------------------------------------------------------


def _cost(board: Board) -> ResultTable:
    header = ["model", "device", "parameters", "hours", "epochs", "structures/s"]
    rows = []
    for model in board.models:
        card, training = model.card, model.card.training
        rows.append([model.name, training.device or NONE, _parameters(card),
                     _number(training.all_hours), _number(training.epochs_done), _number(model.rate, 3)])
    return ResultTable("Cost of training", header, rows, align="llr", notes=(
        "Hours are summed over all runs that led to the weights; epochs are those of the last run.",
        "Structures a second are those of training on the device in the second column. `zoo check NAME` measures "
        "speed, memory and scaling of prediction, with the ratio to SchNet on the same machine.",))


# -- intervals ---------------------------------------------------------------------------------------------------------


def _intervals(board: Board) -> ResultTable:
    models = [m for m in board.models if m.calibration is not None]
    rows = []
    for target in board.targets:
        cells = []
        for model in models:
            held = model.calibration
            assert held is not None
            known = target in held.coverage
            cells.append(f"{held.coverage[target]:.1%} · {held.spearman[target]:.2f} · {_number(held.width[target])}"
                         if known else NONE)
        if any(cell != NONE for cell in cells):
            rows.append([target, board.unit(target), *cells])
    levels = dict.fromkeys(f"{100 * m.level:g} %" for m in models if m.level is not None)
    title = f"Intervals for {', '.join(levels)} of all errors: share within · Spearman's ρ · median half-width"
    return ResultTable(title, ["target", "unit", *(m.name for m in models)], rows, align="llr", notes=(
        "Spearman's ρ is the rank correlation of half-width and absolute error; see `docs/guides/uncertainty.md`.",))


# -- parts -------------------------------------------------------------------------------------------------------------


def _breakdowns(board: Board) -> list[ResultTable]:
    """Errors of the main target by number of heavy atoms and by element."""
    target = next((name for name in _HEADLINES if name in board.targets), board.targets[0])
    made = []
    for by, words in (("heavy_atoms", "number of heavy atoms"), ("element", "element in the structure")):
        parts = {m.name: part for m in board.models for part in m.card.breakdown
                 if part.by == by and part.split == m.split and target in part.mae}
        if not parts:
            continue
        groups = max((part.groups for part in parts.values()), key=len)
        rows = [[group, f"{max(_of(part, part.n, group) or 0 for part in parts.values()):,.0f}",
                 *(_number(_of(part, part.mae[target], group)) for part in parts.values())] for group in groups]
        made.append(ResultTable(f"{target}: MAE by {words}, {board.unit(target)}", [words, "n", *parts], rows))
    return made


def _of(part: Breakdown, values: Sequence[float | None], group: str) -> float | None:
    return values[part.groups.index(group)] if group in part.groups else None


# -- curves ------------------------------------------------------------------------------------------------------------


def _curves(board: Board) -> ResultTable | None:
    """Lowest validation error of the main target after given numbers of hours."""
    target = next((name for name in _HEADLINES if name in board.targets), board.targets[0])
    key = f"{target}.mae"
    models = [m for m in board.models if any(key in row for row in m.curve)]
    if not models:
        return None
    scale = 1000.0 if board.unit(target).startswith("meV") else 1.0
    longest = max(m.curve[-1]["hours"] for m in models)
    hours = [h for h in _HOURS if h < longest] + [longest]
    rows = [[_number(h, 2), *(_number(_best(m.curve, key, h, scale)) for m in models)] for h in hours]
    title = f"Learning curve: lowest validation MAE of {target} after given hours of training, {board.unit(target)}"
    return ResultTable(title, ["hours", *(m.name for m in models)], rows, notes=(
        "Of the last run of each model, on the device above; the hours include those of earlier runs that it started "
        "from. `curve.csv` next to the card has every target by step and hour.",))


def _best(curve: Sequence[dict[str, float]], key: str, hours: float, scale: float) -> float | None:
    values = [row[key] * scale for row in curve if key in row and row["hours"] <= hours + 1e-9]
    return min(values, default=None)


def _parameters(card: Card) -> str:
    return NONE if card.parameters is None else f"{card.parameters:,}"


def _number(value: float | None, digits: int = 4) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
