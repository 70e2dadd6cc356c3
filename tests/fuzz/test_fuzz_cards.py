"""Any text as a card or a registry: a card, a registry, or a CardError with a fix."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given

from zoo.cards.card import Card
from zoo.errors import CardError
from zoo.registry.registry_file import read_registry

from .mutate import LONG, SMOKE, bounded, edits, slow

ROOT = Path(__file__).parents[2]
CARD = (ROOT / "cards" / "painn-ethanol" / "card.yaml").read_text()
REGISTRY = (ROOT / "registry.yaml").read_text() + "include: [{path: other/registry.yaml}]\n"


def card(text: str) -> None:
    try:
        found = Card.from_text(text)
    except CardError as error:
        assert "Fix: " in str(error) and len(str(error)) < 20_000
        return
    assert Card.from_text(found.dump()).to_dict().keys() == found.to_dict().keys()


def registry(text: str, folder: Path) -> None:
    path = folder / "registry.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read_registry(path)
    except CardError as error:
        assert "Fix: " in str(error)


@SMOKE
@given(edits(CARD))
def test_some_cards(text: str) -> None:
    card(text)


@slow
@LONG
@given(edits(CARD))
@bounded
def test_many_cards(text: str) -> None:
    card(text)


@SMOKE
@given(edits(REGISTRY))
def test_some_registries(tmp_path: Path, text: str) -> None:
    registry(text, tmp_path)


@slow
@LONG
@given(edits(REGISTRY))
@bounded
def test_many_registries(tmp_path: Path, text: str) -> None:
    registry(text, tmp_path)
