"""From a foreign file to the zoo's weights, as the card that names it promises them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from zoo.cards import weights
from zoo.cards.card import CARD_FILE, Card
from zoo.errors import WeightsError
from zoo.loading.building import build
from zoo.loading.importing import import_model
from zoo.model.model import Model
from zoo.registry import host

__all__ = ["convert"]


def convert(card: Card, file: Path, target: Path) -> None:
    """Write the weights that the card's source promises; they appear whole and verified or not at all.

    Args:
        file: the foreign file, already verified.
        target: ``model.safetensors`` in a folder of its own; the card is written beside it, so that the folder is a
            card folder.

    Raises:
        WeightsError: the file is not of the reader's kind, the card describes another model, or the result has another
            hash than the card promises.
    """
    model = _described(card, file)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".converting-", dir=target.parent) as folder:
            staged = Path(folder) / target.name
            made = weights.save(model, staged, metadata={"name": card.name, "format": card.format})
            _check(card, file, made)
            promise = {key: getattr(made, key) for key in ("file", "sha256", "bytes", "parameters")}
            card.replace(weights=promise).save(target.parent / CARD_FILE)
            staged.replace(target)
    except OSError as error:
        raise WeightsError(f"{target} cannot be written: {error.strerror or error}. Fix: free space, or set ZOO_HOME "
                           "to a folder of your own.") from error


def _described(card: Card, file: Path) -> Model:
    """The card's model with the foreign weights."""
    source = card.source
    assert source is not None  # asked for cards with a source only
    name, spec = next(iter(card.targets.items()))
    found = import_model(source.reader, file, elements=card.domain.elements, target=name, unit=spec.unit,
                         name=card.name, pbc=card.domain.pbc, config=source.arguments)
    differences = _differences(card, found.required_card)
    if differences:
        listed = "".join(f"\n  {place}: the card has {mine!r}, {file.name} {theirs!r}"
                         for place, mine, theirs in differences)
        raise WeightsError(f"{card.path or card.name} describes another model than {file.name} holds:{listed}\n"
                           "Fix: correct the card.")
    model = build(card).to(found.dtype)
    model.load_state_dict(found.state_dict())
    return model


def _differences(card: Card, found: Card) -> list[tuple[str, Any, Any]]:
    """Place, value of the card and value of the file wherever the two describe different models."""
    defaults = host.defaults(card.architecture) if card.architecture == found.architecture else {}
    mine, theirs = ({**defaults, **one.config} for one in (card, found))
    pairs: list[tuple[str, Any, Any]] = [
        ("architecture", card.architecture, found.architecture),
        ("format", card.format, found.format),
        ("domain.elements", card.domain.elements, found.domain.elements),
        ("priors", card.priors, found.priors),
    ]
    pairs += [(f"config.{key}", mine.get(key), theirs.get(key)) for key in sorted({*mine, *theirs})]
    for name in sorted({*card.targets, *found.targets}):
        pairs.append((f"targets.{name}", _head(card, name), _head(found, name)))
    return [pair for pair in pairs if pair[1] != pair[2]]


def _head(card: Card, name: str) -> dict[str, Any] | None:
    spec = card.targets.get(name)
    if spec is None:
        return None
    defaults = host.architecture(card.architecture).readout
    return {"readout": spec.readout, "unit": spec.unit, "reference": spec.reference, **spec.head(defaults)}


def _check(card: Card, file: Path, made: weights.WeightsFile) -> None:
    source = card.source
    assert source is not None
    promised, found = (source.converted_sha256, source.parameters), (made.sha256, made.parameters)
    if found != promised:
        raise WeightsError(
            f"{file.name} was converted to {made.parameters:,} parameters with sha256 {made.sha256}, and "
            f"{card.path or card.name} promises {source.parameters:,} with {source.converted_sha256}. "
            "Fix: pip install -U geometric-zoo; if the card is yours, write these two into its source.")
