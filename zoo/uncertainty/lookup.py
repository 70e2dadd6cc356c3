"""The error model next to a model's weights, if it was fitted to these weights."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from zoo.cards.card import Card
from zoo.cards.measured import Uncertainty
from zoo.cards.weights import check_hash
from zoo.errors import ZooError
from zoo.uncertainty.error_model import ErrorModel

if TYPE_CHECKING:
    from zoo.model.model import Model

__all__ = ["find", "stale"]

log = logging.getLogger("zoo")

_KEPT = "_error_model"


def find(model: Model) -> ErrorModel | None:
    """The error model of a model, read once; ``None``, with the reason in the log, if there is none for its weights."""
    kept: dict[str, Any] = model.__dict__
    if _KEPT not in kept:
        found, reason = _look(model.card)
        if reason is not None:
            log.warning("%s: no error estimates: %s", "this model" if model.card is None else model.card.name, reason)
        kept[_KEPT] = found
    return kept[_KEPT]


def stale(card: Card) -> str | None:
    """Why the card's error model does not belong to its weights; ``None`` if it does, or if there is none."""
    section = card.uncertainty
    if not isinstance(section, Uncertainty) or card.weights is None or section.weights == card.weights.sha256:
        return None
    return (f"the error estimate was calibrated for the weights {section.weights[:12]}…, and these are "
            f"{card.weights.sha256[:12]}…. Fix: zoo calibrate {card.name}")


def _look(card: Card | None) -> tuple[ErrorModel | None, str | None]:
    if card is None or not isinstance(card.uncertainty, Uncertainty):
        return None, "its card has none. Fix: zoo calibrate makes one"
    old = stale(card)
    if old is not None:
        return None, old
    section = card.uncertainty
    file = None if card.folder is None else card.folder / section.file
    if file is None or not file.is_file():
        return None, f"{section.file} is not next to its card. Fix: zoo pull downloads it, zoo calibrate makes one"
    try:
        check_hash(file, sha256=section.sha256, size=section.bytes)
        found = ErrorModel.load(file)
    except ZooError as error:
        return None, str(error)
    if card.weights is not None and found.facts.weights != card.weights.sha256:
        return None, f"{file} was fitted to other weights. Fix: zoo calibrate {card.name}"
    return found, None
