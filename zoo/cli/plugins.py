"""`zoo plugins`: installed plugins, what they offer, and their errors."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from zoo.files.strict_json import json_text

__all__ = ["plugins"]


def plugins(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list on standard output.")] = False,
) -> None:
    """List the plugins and what they offer; a plugin that fails is listed with its error."""
    from rich.text import Text

    from zoo.cli import console, errors
    from zoo.registry import host

    records = host.plugins()
    if as_json:
        print(json_text([_plain(record) for record in records]))
        return
    console().print(_table(records) if records else "No plugins: is ZOO_PLUGINS empty?")
    for record in records:
        for message, style in [(record.error, "red"), *((w, "yellow") for w in record.warnings)]:
            if message:
                errors().print(Text(f"{record.name} ({record.package}): {message}", style=style), soft_wrap=True)


def _plain(record: Any) -> dict[str, Any]:
    return {**asdict(record), "seconds": round(record.seconds, 4)}


def _offer(kind: str, names: tuple[str, ...]) -> str:
    return "registry" if kind == "registries" else f"{kind}: {', '.join(names)}"


def _table(records: list[Any]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("plugin", "package", "offers", "state"):
        table.add_column(title)
    table.add_column("ms", justify="right")
    for record in records:
        offers = [_offer(kind, names) for kind, names in record.offers.items()]
        if "zoo_train_event" in record.hooks:
            offers.append("listens to training")
        state = ("error", "red") if record.error else ("warning", "yellow") if record.warnings else ("ok", "green")
        table.add_row(Text(record.name, style="bold"), record.package, "; ".join(offers) or "–",
                      Text(state[0], style=state[1]), f"{record.seconds * 1e3:.0f}")
    return table
