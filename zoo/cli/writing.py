"""Checks a card before a measurement, which may take hours, that is to be written into it. Imports no torch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from zoo.errors import CardError

if TYPE_CHECKING:
    from zoo.cards.card import Card

__all__ = ["check_writable"]


def check_writable(card: Card | None) -> None:
    """Raises ``CardError`` for a card of no folder, of an installed package, or of a folder that is write-protected."""
    folder = None if card is None else card.folder
    if folder is None:
        raise CardError("--write needs a model from a card folder. Fix: give the path of one")
    if {"site-packages", "dist-packages"} & set(folder.resolve().parts):
        raise CardError(f"--write: {folder} belongs to an installed package. Fix: copy the card folder and measure the "
                        "copy")
    if not os.access(folder / "card.yaml", os.W_OK):
        raise CardError(f"--write: {folder / 'card.yaml'} cannot be written. Fix: copy the card folder and measure the "
                        "copy")
