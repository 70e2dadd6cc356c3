"""The one error of a card that a list shows."""

from __future__ import annotations

import math

from zoo.cards.card import Card
from zoo.cards.measured import Metric

__all__ = ["delta_test", "headline", "headline_text"]


def headline(card: Card) -> Metric | None:
    """The test error of the energy, or of the first target; ``None`` if none was measured."""
    measured = [m for m in card.metrics if m.metric in ("mae", "rmse")]
    order = ["energy", "U0", *card.targets, *card.derivatives]
    return min(measured, key=lambda m: (m.split != "test", order.index(m.target), m.metric != "mae"), default=None)


def headline_text(card: Card) -> str:
    """As ``"U0 15.3 meV"``, or the Delta test of a potential without a test split; a dash if nothing was measured."""
    metric = headline(card)
    if metric is not None:
        return f"{metric.target} {metric.value:.4g} {metric.unit}"
    delta = delta_test(card)
    return "–" if math.isinf(delta) else f"Δ {delta:.3g} meV/atom"


def delta_test(card: Card) -> float:
    """Mean Δ against all-electron PBE that ``zoo lab delta --write`` measured, meV/atom; infinite if it did not."""
    measured = card.stability.get("delta") if isinstance(card.stability, dict) else None
    value = measured.get("delta_meV_per_atom") if isinstance(measured, dict) else None
    return float(value) if isinstance(value, (int, float)) else math.inf
