"""Where model names come from.

Sources, in this order: the zoo's own registry, those of plugins, the user's (``$ZOO_HOME/registry.yaml``), and the
folders of ``ZOO_PATH``, each with a ``registry.yaml`` or with card folders. No source shadows another: a name that
two of them give a different meaning is an error when it is used, and is shown by ``zoo list``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from zoo.cards.card import CARD_FILE, Card
from zoo.errors import CardError, ZooError
from zoo.files.user_paths import user_path
from zoo.files.zoo_home import home
from zoo.registry import host
from zoo.registry.entries import Entry, Registry
from zoo.registry.registry_file import REGISTRY_FILE, RegistryFile, read_registry

__all__ = ["included", "read_all", "search_path", "user_registry"]


def read_all() -> Registry:
    """Read every source now. A source that cannot be read is one of the ``problems``."""
    result = Registry()
    for path, origin in _sources():
        try:
            _merge(result, read_registry(path), origin)
        except ZooError as error:
            result.problems.append((origin, str(error)))
    for folder in search_path():
        _add_folder(result, folder)
    for alias, targets in result.aliases.items():
        for origin, target in targets.items():
            if target not in result.entries:
                result.problems.append((origin, f"alias '{alias}' stands for '{target}', which is no model"))
            elif alias in result.entries:
                problem = f"alias '{alias}' for '{target}' is a model's name too: the model wins"
                result.problems.append((origin, problem))
    return result


def user_registry() -> Path:
    """``$ZOO_HOME/registry.yaml``; it need not exist."""
    return home() / REGISTRY_FILE


def _sources() -> Iterator[tuple[Path, str]]:
    for path, record in host.registries():
        yield path, "built-in" if record.builtin else record.dist
    if user_registry().is_file():
        yield user_registry(), "user"
        yield from included()


def included() -> Iterator[tuple[Path, str]]:
    """Registries that the user added: the file, and its address on the Hub or else its path."""
    try:
        user = read_registry(user_registry())
    except ZooError:  # reported as a problem of the user's registry
        return
    for include in user.include:
        path = home() / user_path(include.path)
        yield path, f"hf:{include.hub}" if include.hub else str(path)


def search_path() -> list[Path]:
    """The folders of ``ZOO_PATH``."""
    return [user_path(part) for part in os.environ.get("ZOO_PATH", "").split(os.pathsep) if part.strip()]


def _merge(result: Registry, file: RegistryFile, origin: str) -> None:
    for name, (card_path, hub) in file.models.items():
        result.add(Entry(name, card_path, hub, origin, file.path))
    for alias, name in file.aliases.items():
        result.aliases.setdefault(alias, {})[origin] = name


def _add_folder(result: Registry, folder: Path) -> None:
    """Add a folder of ``ZOO_PATH``: of a registry, of one card, or with card folders in it."""
    if not folder.is_dir():
        result.problems.append(("ZOO_PATH", f"{folder} is no folder"))
        return
    if (folder / REGISTRY_FILE).is_file():
        try:
            _merge(result, read_registry(folder / REGISTRY_FILE), "ZOO_PATH")
        except ZooError as error:
            result.problems.append(("ZOO_PATH", str(error)))
        return
    cards = [folder] if (folder / CARD_FILE).is_file() else sorted(p.parent for p in folder.glob(f"*/{CARD_FILE}"))
    if not cards:
        result.problems.append(("ZOO_PATH", f"{folder} holds neither {REGISTRY_FILE} nor card folders"))
    for card_folder in cards:
        try:
            name = Card.load(card_folder).name
        except CardError:
            name = card_folder.name  # listed by the name of its folder, with the error of its card
        result.add(Entry(name, card_folder / CARD_FILE, None, "ZOO_PATH", folder))
