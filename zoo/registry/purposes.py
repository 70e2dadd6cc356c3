"""What a model is for, and which of several for the same is the better one; read from their cards. Torch-free."""

from __future__ import annotations

import math
from typing import Any

from zoo.cards.card import Card
from zoo.cards.headline import delta_test, headline
from zoo.registry.default_models import MOLECULES

__all__ = ["PURPOSES", "best_first", "purpose"]

PURPOSES = ("any crystal", "any molecule", "properties", "one system")
"""In the order of lists. Potentials of many elements, models without forces, potentials of few elements."""

_MANY = 8
"""Elements from which on a potential counts as one for any structure; organic chemistry needs about as many."""


def purpose(card: Card) -> str:
    """One of :data:`PURPOSES`."""
    if not card.derivatives:
        return "properties"
    if len(card.domain.elements) < _MANY:
        return "one system"
    return "any crystal" if card.domain.pbc else "any molecule"


def best_first(card: Card) -> tuple[Any, ...]:
    """A sort key: by purpose; then those that were measured on the same test next to each other, smallest error first.

    Potentials for any crystal are compared by the Delta test, those of one system by their forces. Models without a
    measurement follow those with one.
    """
    kind = purpose(card)
    place = PURPOSES.index(kind)
    if kind == "any crystal":
        return place, 0, "", delta_test(card), card.name
    if kind == "properties":
        error = headline(card)
        default = MOLECULES.index(card.name) if card.name in MOLECULES[:1] else len(MOLECULES)
        return place, default, card.data.dataset or "", math.inf if error is None else error.value, card.name
    return place, 0, card.data.source or card.data.dataset or "", _forces(card), card.name


def _forces(card: Card) -> float:
    """RMSE of the forces of the test split, meV/Å."""
    wanted = ("test", "forces", "rmse")
    return next((m.value for m in card.metrics if (m.split, m.target, m.metric) == wanted), math.inf)
