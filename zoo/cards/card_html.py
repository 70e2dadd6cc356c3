"""A card, and a model with its card, in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.cards.values import DERIVATIVES
from zoo.files.html import html_pairs, html_table

if TYPE_CHECKING:
    from zoo.cards.card import Card

__all__ = ["card_html"]


def card_html(card: Card, more: Sequence[tuple[str, object]] = ()) -> str:
    """What a model is for and what it predicts, with the errors that were measured.

    Args:
        more: names and values that stand after those of the card.
    """
    domain = card.domain
    facts = html_pairs([
        ("architecture", card.architecture),
        ("elements", " ".join(domain.elements)),
        ("structures", "molecules and periodic structures" if domain.pbc else "molecules only"),
        ("valid for", domain.reach),
        ("trained on", ", ".join(part for part in (card.data.dataset, card.data.theory) if part)),
        ("parameters", None if card.parameters is None else f"{card.parameters:,}"),
        ("license", card.license),
        ("limits", card.limits),
        *more,
    ], title=card.name, note=card.summary)
    units = {name: target.unit for name, target in card.targets.items()}
    units |= {name: DERIVATIVES[name] for name in card.derivatives}
    rows = [(name, unit, *(_error(card, name, kind) for kind in ("mae", "rmse"))) for name, unit in units.items()]
    return facts + html_table(["predicts", "unit", "test MAE", "test RMSE"], rows)


def _error(card: Card, target: str, kind: str) -> str:
    found = next((m for m in card.metrics if (m.split, m.target, m.metric) == ("test", target, kind)), None)
    return "–" if found is None else f"{found.value:.4g} {found.unit}"
