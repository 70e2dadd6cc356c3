"""Find the registry for the pin of a card, and write it there."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.cards.card import CARD_FILE
from zoo.errors import CardError
from zoo.registry.registry_file import REGISTRY_FILE, write_pin
from zoo.registry.sources import read_all, user_registry

__all__ = ["record_pin", "registry_of"]


def record_pin(card_folder: Path, name: str, pin: str) -> Path:
    """Record a pin in the registry of the source tree that a card folder belongs to, else in the user's.

    Returns the registry written to.

    Raises:
        CardError: not a pin, or the name means another model elsewhere, which the user's registry would contradict.
    """
    path, card = registry_of(card_folder, name)
    write_pin(path, name, pin, card=card)
    return path


def registry_of(card_folder: Path, name: str) -> tuple[Path, str]:
    """The registry for the pin of this card, and the path of the card in it.

    Raises:
        CardError: the name means another model elsewhere, which the user's registry would contradict.
    """
    card = card_folder.resolve() / CARD_FILE
    for folder in card.parents:
        path = folder / REGISTRY_FILE
        if path.is_file() and not _installed(folder) and os.access(folder, os.W_OK):
            return path, card.relative_to(folder).as_posix()
    path = user_registry()
    for other in read_all().entries.get(name, []):
        own = other.card_path is not None and other.card_path.resolve() == card
        # An entry of the user's own registry whose card was deleted may be replaced.
        stale = other.registry == path and other.card_path is not None and not other.card_path.is_file()
        if not stale and (not own or (other.registry != path and _installed(card))):
            raise CardError(f"'{name}' is a model of {other.origin} ({other.registry}) already. Fix: if that package "
                            "is yours, copy card and weights into its source tree, over the card registered there, and "
                            "push that folder; else copy the card folder, give the copy another name and push that.")
    return path, card.as_posix()


def _installed(path: Path) -> bool:
    """Whether a path belongs to an installed package, where nothing is ever written."""
    return any(part in ("site-packages", "dist-packages") for part in path.parts)
