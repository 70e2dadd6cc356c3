"""`zoo leaderboard`: all models next to each other, by their cards."""

from __future__ import annotations

import csv
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.files.strict_json import json_text

if TYPE_CHECKING:
    from zoo.evaluation.leaderboard import Board
    from zoo.evaluation.tables import ResultTable

__all__ = ["leaderboard"]


def leaderboard(
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Only models of this data set, such as qm9.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One line per metric, as CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Tables in Markdown.")] = False,
) -> None:
    """Compare the models of all registries: errors, cost, intervals, errors by group, learning curves."""
    from rich.text import Text

    from zoo.cli import console, errors
    from zoo.errors import UnknownNameError, ZooError, did_you_mean
    from zoo.evaluation.leaderboard import boards
    from zoo.evaluation.leaderboard_tables import markdown, tables
    from zoo.registry.names import models

    if as_json + as_csv + as_markdown > 1:
        raise ZooError("--json, --csv and --markdown exclude each other. Fix: choose one of them")
    cards = []
    for entry in models().values():
        try:
            cards.append((entry.card(), entry.origin))
        except ZooError as error:
            errors().print(Text(f"left out: {error}", style="yellow"), soft_wrap=True)
    found = boards(cards, dataset=dataset)
    if dataset is not None and not found:
        known = dict.fromkeys(board.label for board in boards(cards))
        raise UnknownNameError(f"no model was measured on '{dataset}'{did_you_mean(dataset, known)} Fix: "
                               + (f"choose among {', '.join(known)}" if known else "measure one: zoo evaluate --write"))
    if as_json:
        print(json_text([board.to_dict() for board in found]))
    elif as_csv:
        _write_csv(found)
    elif as_markdown:
        print("\n".join(markdown(board) for board in found), end="")
    else:
        for board in found:
            console().print(Text(f"{board.label}\n", style="bold"))
            for table in tables(board):
                console().print(_rich_table(table))
                for note in table.notes:
                    console().print(Text(f"{note}\n", style="dim"))


def _rich_table(made: ResultTable) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=made.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column, letter in zip(made.header, made.columns):
        table.add_column(column, justify="left" if letter == "l" else "right")
    for row in made.rows:
        table.add_row(*row)
    return table


def _write_csv(found: list[Board]) -> None:
    """One line per metric of a model or a paper."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["data", "model", "split", "target", "metric", "value", "unit", "n", "origin"])
    for board in found:
        for model in board.models:
            for m in model.metrics.values():
                writer.writerow([board.label, model.name, m.split, m.target, m.metric, m.value, m.unit, m.n,
                                 model.origin])
        for paper in board.published:
            for target, value in paper.values.items():
                writer.writerow([board.label, paper.name, "", target, paper.metric, value, paper.units[target], "",
                                 paper.citation])
