"""`zoo list`: the models of all registries."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zoo.files.strict_json import json_text

__all__ = ["list_models"]

SHOWN_TARGETS = 5


def list_models(
    pattern: Annotated[str, typer.Argument(help="Names to list, such as '*-qm9' or just qm9.")] = "*",
    architecture: Annotated[str | None, typer.Option("--architecture", "-a", help="Only this architecture.")] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="Only models that predict this target.")] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="Only models trained on this data set.")
    ] = None,
    plugin: Annotated[str | None, typer.Option("--plugin", help="Only architectures of this plugin.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list on standard output.")] = False,
) -> None:
    """List the trained models by what they are for, best first: origin, errors, where the weights are."""
    from rich.text import Text

    from zoo.cli import console, errors
    from zoo.registry.sources import read_all

    found = read_all()
    ranked = _rows(found, pattern, architecture=architecture, target=target, dataset=dataset, plugin=plugin)
    rows = [row for _, row in ranked]
    if as_json:
        print(json_text(rows))
    elif rows:
        console().print(_table([row for _, row in sorted(ranked, key=lambda pair: pair[0])]))
    else:
        console().print("No model matches." if found.entries else "No models are registered.")
    for row in rows:
        if row["error"] and not as_json:
            errors().print(Text(f"{row['name']}: {row['error']}", style="red"), soft_wrap=True)
    for origin, problem in found.problems:
        errors().print(Text(f"{origin}: {problem}", style="yellow"), soft_wrap=True)


def _rows(found: Any, pattern: str, **filters: str | None) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Place in the table and row of each model; a card that cannot be read, or a name with two meanings, is a row with
    its error."""
    from zoo.errors import ZooError
    from zoo.registry.names import matching, name_matches
    from zoo.registry.purposes import PURPOSES, best_first

    filtered = any(value is not None for value in filters.values())
    conflicts = found.conflicts()
    rows = []
    for name in sorted(found.entries):
        if not name_matches(name, pattern):
            continue
        row: dict[str, Any] = {"name": name, "aliases": found.aliases_of(name)}
        try:
            entry = found.entry(name)
            row |= {"origin": entry.origin, "hub": entry.hub, "card": entry.card_path and str(entry.card_path)}
            card = entry.card()
        except ZooError as error:
            if not filtered:
                origins = " + ".join(e.origin for e in found.entries[name])
                reason = conflicts.get(name, str(error))
                rows.append(((len(PURPOSES), name), {**row, "origin": row.get("origin", origins), "error": reason}))
            continue
        if matching(card, **filters):
            rows.append((best_first(card), {**row, **_described(card, entry), "error": None}))
    return rows


def _described(card: Any, entry: Any) -> dict[str, Any]:
    from zoo.cards.headline import headline, headline_text
    from zoo.registry.purposes import purpose

    metric = headline(card)
    return {
        "for": purpose(card),
        "architecture": card.architecture,
        "dataset": card.data.dataset,
        "targets": {name: spec.unit for name, spec in card.targets.items()},
        "derivatives": list(card.derivatives),
        "parameters": card.parameters,
        "metric": metric and {key: getattr(metric, key) for key in ("split", "target", "metric", "value", "unit", "n")},
        "measured": headline_text(card),
        **_weights(card, entry),
        "summary": card.summary,
    }


def _weights(card: Any, entry: Any) -> dict[str, Any]:
    """Where the weights are; for those of another package that are not on this machine, the command that gets them."""
    from zoo.loading.sources import availability

    if card.weights is not None and (card.folder / card.weights.file).is_file():
        return {"weights": "here"}
    if card.source is None:
        return {"weights": "hub" if entry.hub else None}
    found = availability(card)
    absent = found.state == "absent"
    return {"weights": found.state, "where": found.where, **({"get": found.command} if absent else {})}


def _table(rows: list[dict[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, options in (("name", {"no_wrap": True, "style": "bold"}), ("architecture", {}), ("data", {}),
                           ("targets", {}), ("parameters", {"justify": "right"}), ("test error", {}), ("weights", {}),
                           ("origin", {})):
        table.add_column(title, **options)
    group = None
    for row in rows:
        if row.get("for") != group:
            group = row.get("for")
            table.add_section()
            table.add_row(Text(group or "cannot be read", style="italic"))
        name = Text(row["name"])
        if row["aliases"]:
            name.append(f" ({', '.join(row['aliases'])})", style="dim")
        if row["error"]:
            table.add_row(name, Text("error, see below", style="red"), "", "", "", "", "", row["origin"])
            continue
        table.add_row(
            name, row["architecture"], row["dataset"] or "–", _short_targets([*row["targets"], *row["derivatives"]]),
            "–" if row["parameters"] is None else f"{row['parameters']:,}",
            row["measured"],
            _place(row), row["origin"],
        )
    return table


def _place(row: dict[str, Any]) -> str:
    """Of the weights, in words."""
    if row["weights"] == "absent":
        return str(row["get"])
    if row["weights"] == "package":
        return f"here, {row['where']}"
    return {"here": "here", "hub": "on the Hub", None: "none yet"}.get(row["weights"], "here")


def _short_targets(names: list[str]) -> str:
    if len(names) <= SHOWN_TARGETS + 1:
        return " ".join(names)
    return f"{' '.join(names[:SHOWN_TARGETS])} +{len(names) - SHOWN_TARGETS}"
