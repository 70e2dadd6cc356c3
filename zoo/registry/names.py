"""Models by name: look one up, list and filter them, read their cards."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from zoo.cards.card import CARD_FILE, Card
from zoo.cards.headline import headline_text
from zoo.errors import CardError, UnknownNameError, ZooError
from zoo.files.html import html_table
from zoo.files.user_paths import user_path
from zoo.registry import host
from zoo.registry.entries import Entry
from zoo.registry.purposes import best_first, purpose
from zoo.registry.sources import read_all

__all__ = ["ModelNames", "entry", "list_models", "matching", "models", "name_matches", "show"]


class ModelNames(list[str]):
    """Names of models; a notebook shows them as a table, best first."""

    def _repr_html_(self) -> str:
        known, rows, unread = models(), [], []
        for name in self:
            try:
                card = known[name].card()
            except (KeyError, ZooError):
                unread.append([name, "its card cannot be read: zoo show says why"])
                continue
            rows.append((best_first(card), [name, purpose(card), card.architecture,
                                            " ".join([*card.targets, *card.derivatives]), headline_text(card)]))
        rows.sort()
        return html_table(["name", "for", "architecture", "predicts", "test error"], [row for _, row in rows] + unread)


def models() -> dict[str, Entry]:
    """Every usable entry by name."""
    return read_all().models()


def entry(name: str) -> Entry:
    """See :meth:`Registry.entry`."""
    return read_all().entry(name)


def list_models(
    pattern: str = "*",
    *,
    architecture: str | None = None,
    target: str | None = None,
    dataset: str | None = None,
    plugin: str | None = None,
) -> ModelNames:
    """Names of models, sorted.

    Args:
        pattern: shell-style, ``"*-qm9"``; without a wildcard, any name that contains it.
        architecture: of the card.
        target: a target, or ``"forces"`` or ``"stress"`` if trained.
        dataset: of the card.
        plugin: entry point or distribution that offers the architecture.

    A model whose card cannot be read is listed only if no filter needs the card.
    """
    filters = (architecture, target, dataset, plugin)
    names = ModelNames()
    for name, found in read_all().models().items():
        if not name_matches(name, pattern):
            continue
        if any(f is not None for f in filters):
            try:
                card = found.card()
            except CardError:
                continue
            if not matching(card, architecture=architecture, target=target, dataset=dataset, plugin=plugin):
                continue
        names.append(name)
    return names


def name_matches(name: str, pattern: str) -> bool:
    """Shell-style match; a pattern without a wildcard matches any name that contains it."""
    return fnmatch.fnmatchcase(name, pattern if any(c in pattern for c in "*?[") else f"*{pattern}*")


def matching(card: Card, *, architecture: str | None, target: str | None, dataset: str | None,
             plugin: str | None) -> bool:
    """Whether a card passes the filters of :func:`list_models`."""
    if architecture is not None and card.architecture != architecture:
        return False
    if target is not None and target not in [*card.targets, *card.derivatives]:
        return False
    if dataset is not None and card.data.dataset != dataset:
        return False
    if plugin is None:
        return True
    try:
        record = host.provider(card.architecture)
    except ZooError:
        return card.requires.plugin == plugin
    return plugin in (record.name, record.dist)


def show(name: str | Path) -> Card:
    """The card of a model's name or alias, of a card file, or of a card folder.

    Raises:
        UnknownNameError: neither a name nor a path; the error suggests similar names.
        CardError: the card cannot be read.
    """
    path = user_path(str(name).removeprefix("dir:"))
    if str(name).startswith("dir:") or path.is_file() or (path / CARD_FILE).is_file():
        return Card.load(path)
    if isinstance(name, Path) or path.suffix in (".yaml", ".yml"):
        raise UnknownNameError(f"{path}: no such card. Fix: check the path; zoo list shows the names.")
    return entry(name).card()
