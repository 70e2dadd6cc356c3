"""What models are for, and which of several is listed first."""

from __future__ import annotations

from typing import Any

import pytest

from zoo.cards.card import Card
from zoo.cards.headline import headline_text
from zoo.elements import NUMBERS
from zoo.registry.purposes import PURPOSES, best_first, purpose


def card(name: str = "one", *, elements: int = 3, pbc: bool = False, derivatives: tuple[str, ...] = ("forces",),
         forces: float | None = None, source: str = "a", stability: Any = None) -> Card:
    metrics = [] if forces is None else [{"split": "test", "target": "forces", "metric": "rmse", "value": forces,
                                          "unit": "meV/Å", "n": 1, "by": "zoo evaluate", "date": "2026-12-01"}]
    return Card.from_dict({
        "schema": 1, "name": name, "architecture": "painn", "derivatives": list(derivatives), "metrics": metrics,
        "targets": {"energy": {"readout": "energy", "unit": "eV"}}, "data": {"source": source}, "stability": stability,
        "domain": {"elements": list(NUMBERS)[1 : elements + 1], "pbc": pbc},
    })


@pytest.mark.parametrize("options, expected", [
    ({"elements": 89, "pbc": True}, "any crystal"), ({"elements": 9}, "any molecule"),
    ({"elements": 7}, "one system"), ({"elements": 1, "pbc": True}, "one system"),
    ({"elements": 89, "derivatives": ()}, "properties"),
])
def test_a_card_says_what_its_model_is_for(options, expected):
    assert purpose(card(**options)) == expected


def test_each_group_begins_with_its_best_and_ends_with_the_unmeasured():
    crystals = [card(name, elements=89, pbc=True, stability=found) for name, found in (
        ("b", {"delta": {"delta_meV_per_atom": 3.0}}), ("c", {"delta": {"delta_meV_per_atom": 4.0}}), ("a", None),
        ("d", {"delta": "unreadable"}), ("e", "a remark"))]
    systems = [card("g", forces=2.0), card("f", forces=3.0), card("h"), card("i", source="b", forces=1.0)]
    ranked = sorted([*systems[::-1], *crystals[::-1]], key=best_first)
    assert [one.name for one in ranked] == ["b", "c", "a", "d", "e", "g", "f", "h", "i"]
    assert [purpose(one) for one in ranked] == sorted(map(purpose, ranked), key=PURPOSES.index)


def test_the_one_error_of_a_list_is_the_delta_test_where_there_is_no_test_split():
    assert headline_text(card(forces=2.0)) == "forces 2 meV/Å"
    assert headline_text(card(stability={"delta": {"delta_meV_per_atom": 3.967}})) == "Δ 3.97 meV/atom"
    assert headline_text(card()) == "–"
