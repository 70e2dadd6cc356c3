"""The data a card speaks of: opened, in the card's units, with edges, and divided as the card says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo import host
from zoo.card import DERIVATIVES, Card
from zoo.data.open import open_dataset
from zoo.data.splits import QM9_TEST_SHA256, random_split, split
from zoo.data.store import Store
from zoo.elements import SYMBOLS
from zoo.errors import DataError
from zoo.units import factor

if TYPE_CHECKING:
    from zoo.model import Model

__all__ = ["CardData", "open_for_card"]

_VAL = _TEST = 0.1


@dataclass(frozen=True)
class CardData:
    """Data of a card.

    Attributes:
        store: with edges at the model's cut-off and labels in the card's units.
        rows: of ``train``, ``val`` and ``test``; none is shared.
        name: of the data set, or of the file.
    """

    store: Store
    rows: dict[str, Tensor]
    name: str


def open_for_card(card: Card, *, cutoff: float, labels: Iterable[str], path: str | Path | None = None) -> CardData:
    """Open what the card's ``data`` names.

    Args:
        cutoff: Å, of the edges.
        labels: targets, ``forces`` and ``stress`` that are needed.
        path: where the data set lies; for a card without ``dataset``, the file of structures.

    Raises:
        DataError: nothing is named, a label is missing, or a unit cannot be converted.
    """
    data, labels = card.data, list(labels)
    if data.dataset is not None and data.dataset in host.datasets():
        store, name = open_dataset(data.dataset, path=path), data.dataset
    else:
        place = path or data.path or data.dataset
        if place is None:
            raise DataError(f"{card.where('data')}: names no data: give data.dataset, data.path, or --data FILE")
        store, name = _open_file(card, Path(place), labels), Path(place).name
    lacking = [label for label in labels if label not in store.labels]
    if lacking:
        raise DataError(f"{name} has no label {', '.join(lacking)}; it has: {', '.join(store.labels) or 'none'}")
    store = _in_units(store, card, labels)
    if store.edges is None or store.edges.cutoff not in (None, cutoff):
        store = store.with_edges(cutoff, progress=True)
    return CardData(store, _divide(card, store), name)


def check_elements(store: Store, rows: Tensor, model: Model, where: str) -> None:
    """Refuse data with elements outside the model's domain.

    Raises:
        DataError: names the elements and what mends it.
    """
    strange = sorted(set(store.elements) - set(model.elements))
    if strange:
        strange_here = [z for z in strange if bool((store.subset(rows).z == z).any())]
        if strange_here:
            names = ", ".join(SYMBOLS[z] for z in strange_here)
            raise DataError(f"{where} has {names}, which the card's domain.elements does not list: add them, or leave "
                            "those structures out")


def _open_file(card: Card, place: Path, labels: Sequence[str]) -> Store:
    if not place.is_file():
        return open_dataset(place)
    keys = card.data.keys
    units = {label: card.data.units.get(label) for label in labels}
    unknown = [label for label, unit in units.items() if unit is None]
    if unknown:
        raise DataError(f"{card.where('data')}: in which unit does {place} give {', '.join(unknown)}? Say so under "
                        f"data.units, such as {{{unknown[0]}: eV}}")
    return open_dataset(place, properties={label: keys.get(label, label) for label in labels}, units=units,
                        inputs=[name for name in card.inputs if name != "edge_attrs"])


def _in_units(store: Store, card: Card, labels: Sequence[str]) -> Store:
    """The store with the labels that are used converted to the card's units."""
    wanted = {name: DERIVATIVES[name] if name in DERIVATIVES else card.targets[name].unit for name in labels}
    changed = {name: factor(store.units[name], unit) for name, unit in wanted.items() if store.units[name] != unit}
    if not changed:
        return store
    return replace(store, labels={**store.labels, **{n: store.labels[n] * f for n, f in changed.items()}},
                   units={**store.units, **{name: wanted[name] for name in changed}})


def _divide(card: Card, store: Store) -> dict[str, Tensor]:
    """QM9 and its parts by its own split; other data by the counts of the card, drawn from the identities."""
    wanted = card.data.split
    if store.meta.get("split") == QM9_TEST_SHA256 or (wanted is not None and wanted.sha256 == QM9_TEST_SHA256):
        rows = {name: split(store.ids, name) for name in ("train", "val", "test")}
        if len(rows["val"]) == 0 and len(rows["train"]) > 10:
            # A part of QM9 without validation molecules: some of the training molecules take their place.
            own = random_split(store.ids[rows["train"]].cpu(), val=_VAL, salt="val")
            rows |= {name: rows["train"][own[name]] for name in ("train", "val")}
        return rows
    salt = f"split-{wanted.seed or 0}" if wanted is not None else "split-0"
    val = wanted.val if wanted is not None and wanted.val is not None else _VAL
    test = wanted.test if wanted is not None and wanted.test is not None else _TEST
    rows = random_split(store.ids, val=val, test=test, salt=salt)
    if wanted is not None and wanted.train is not None and wanted.train < len(rows["train"]):
        order = random_split(store.ids[rows["train"]].cpu(), val=wanted.train, salt=salt + "-train")["val"]
        rows["train"] = rows["train"][order]
    if not len(rows["train"]):
        raise DataError(f"{len(store)} structures leave none to train on")
    return {name: torch.as_tensor(part) for name, part in rows.items()}
