"""The data of a card: opened, converted to the card's units, with edges, and divided by the card's split."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from zoo.cards.card import DERIVATIVES, Card
from zoo.data.edges import with_edges
from zoo.data.identity import SPLIT_FILE, read_split
from zoo.data.open import open_dataset
from zoo.data.splits import QM9_TEST_SHA256, random_split, split
from zoo.data.store import Store
from zoo.elements import SYMBOLS
from zoo.errors import DataError
from zoo.files.hashing import sha256_of
from zoo.hub.datasets import fetch_data
from zoo.registry import host
from zoo.units import factor

__all__ = ["CardData", "check_elements", "open_for_card"]

log = logging.getLogger(__name__)

_VAL = _TEST = 0.1
_FRAMES = (".xyz", ".extxyz", ".traj", ".db", ".cif", ".vasp", ".cfg", ".gen", ".pdb", ".mol")


@dataclass(frozen=True)
class CardData:
    """Data of a card.

    Attributes:
        store: with edges at the model's cut-off and labels in the card's units.
        rows: of ``train``, ``val`` and ``test``; none is shared. Structures may belong to none of them.
        name: of the data set, or of the file.
        own: whether these are the data of the card's split; for other data the overlap with training data is unknown.
        split_file: file of fingerprints, if these divided the data.
    """

    store: Store
    rows: dict[str, Tensor]
    name: str
    own: bool
    split_file: Path | None = None


def open_for_card(card: Card, *, cutoff: float, labels: Iterable[str], path: str | Path | None = None,
                  lenient: bool = False) -> CardData:
    """Open the data that the card's ``data`` names.

    Args:
        cutoff: Å, of the edges.
        labels: targets, ``forces`` and ``stress`` that are needed.
        path: of the data set; or another file of structures.
        lenient: labels may be missing.

    Raises:
        DataError: nothing is named, a label is missing, or a unit cannot be converted.
    """
    data, labels = card.data, list(labels)
    named = data.dataset if data.dataset in host.datasets() else None
    on_hub = data.dataset if data.dataset is not None and data.dataset.startswith("hf:") else None
    if data.dataset is not None and not (named or on_hub) and not Path(data.dataset).exists():
        host.dataset(data.dataset)  # raises UnknownNameError
    split_file = card.folder / data.split.file if card.folder is not None and data.split and data.split.file else None
    if path is None and on_hub:
        folder, name = fetch_data(on_hub), on_hub
        store, split_file = Store.load(folder), split_file or folder / SPLIT_FILE
    elif named and (path is None or Path(path).suffix.lower() not in _FRAMES):
        store, name = open_dataset(named, path=path), named
    else:
        place = path or data.path or data.dataset
        if place is None:
            raise DataError(f"{card.where('data')}: names no data. Fix: give data.dataset, data.path, or --data FILE")
        store, name = _open_file(card, Path(place), labels, lenient=lenient), Path(place).name
        named = None
    if lenient:
        labels = [label for label in labels if label in store.labels]
    lacking = [label for label in labels if label not in store.labels]
    if lacking:
        raise DataError(f"{name} has no label {', '.join(lacking)}; it has: {', '.join(store.labels) or 'none'}. "
                        "Fix: name one of these labels under targets, or give data that have it.")
    store = _without_stress(_in_units(store, card, labels), name)
    if store.edges is None or store.edges.cutoff not in (None, cutoff):
        store = with_edges(store, cutoff, progress=True)
    rows, own, used = _divide(card, store, split_file, named=named is not None)
    return CardData(store, rows, name, own, used)


def check_elements(store: Store, rows: Tensor, elements: Sequence[int], where: str) -> None:
    """Refuse data with elements outside the model's domain.

    Raises:
        DataError: there are such elements.
    """
    if not set(store.elements) <= set(elements):
        strange = sorted(set(store.subset(rows).elements) - set(elements))
        if strange:
            raise DataError(f"{where} has {', '.join(SYMBOLS[z] for z in strange)}, which the card's domain.elements "
                            "does not list. Fix: add them, or leave those structures out.")


def _open_file(card: Card, place: Path, labels: Sequence[str], *, lenient: bool) -> Store:
    if not place.is_file():
        return open_dataset(place)
    keys, units = card.data.keys, card.data.units
    if lenient:
        # Only labels with a known unit: others would be compared wrongly.
        labels = [label for label in labels if label in units]
    unknown = [label for label in labels if label not in units]
    if unknown or not labels:
        example = unknown[0] if unknown else next(iter(card.targets))
        raise DataError(f"{card.where('data')}: in which unit does {place} give {', '.join(unknown) or 'its labels'}? "
                        f"Fix: give the unit under data.units, such as --set data.units.{example}=eV (and its "
                        f"name in the file, if "
                        f"another: --set data.keys.{example}=…)")
    return open_dataset(place, properties={label: keys.get(label, label) for label in labels},
                        units={label: units[label] for label in labels},
                        optional=[label for label in card.data.optional if label in labels],
                        inputs=[name for name in card.inputs if name != "edge_attrs"])


def _in_units(store: Store, card: Card, labels: Sequence[str]) -> Store:
    """The store with the given labels converted to the card's units."""
    wanted = {name: DERIVATIVES[name] if name in DERIVATIVES else card.targets[name].unit for name in labels}
    changed = {name: factor(store.units[name], unit) for name, unit in wanted.items() if store.units[name] != unit}
    if not changed:
        return store
    return replace(store, labels={**store.labels, **{n: store.labels[n] * f for n, f in changed.items()}},
                   units={**store.units, **{name: wanted[name] for name in changed}})


def _without_stress(store: Store, name: str) -> Store:
    """The store with stress for periodic structures only: others have no volume."""
    if "stress" not in store.labels:
        return store
    given = store.labels["stress"].isfinite().reshape(len(store), -1).any(1)
    flat = torch.ones_like(given) if store.pbc is None else ~store.pbc.any(1)
    if not bool((given & flat).any()):
        return store
    log.warning("warning: %s: the stress of %s structures is left out, since they are not periodic", name,
                f"{int((given & flat).sum()):,}")
    stress = store.labels["stress"].clone()
    stress[flat] = torch.nan
    return replace(store, labels={**store.labels, "stress": stress})


def _divide(card: Card, store: Store, split_file: Path | None, *, named: bool
            ) -> tuple[dict[str, Tensor], bool, Path | None]:
    """QM9 by its own split; others by fingerprints next to a trained card or the data, else by the card's counts."""
    wanted = card.data.split
    if store.meta.get("split") == QM9_TEST_SHA256 or (named and wanted and wanted.sha256 == QM9_TEST_SHA256):
        return _divide_qm9(store), True, None
    if split_file is not None and split_file.is_file():
        if wanted is not None and wanted.sha256 is not None and wanted.sha256 != sha256_of(split_file):
            raise DataError(f"{card.where('data', 'split', 'sha256')}: {split_file} has another hash. Fix: restore the "
                            "file, or correct data.split.sha256 if the split was changed on purpose")
        rows = read_split(split_file, store)
        return rows, any(len(part) for part in rows.values()), split_file
    if card.weights_sha256 is not None:
        # Trained on other data: no structure is known to belong to a split.
        return {name: torch.zeros(0, dtype=torch.int64) for name in ("train", "val", "test")}, False, None
    if split_file is not None and wanted is not None and wanted.file and wanted.sha256 != QM9_TEST_SHA256:
        raise DataError(f"{card.where('data', 'split', 'file')}: there is no {split_file}, which divides the data. "
                        "Fix: put the file there, or take file out of data.split to divide the data anew")
    salt = f"split-{wanted.seed or 0}" if wanted is not None else "split-0"
    val = wanted.val if wanted is not None and wanted.val is not None else _VAL
    test = wanted.test if wanted is not None and wanted.test is not None else _TEST
    rows = random_split(store.ids.cpu(), val=val, test=test, salt=salt)
    if wanted is not None and wanted.train is not None and wanted.train < len(rows["train"]):
        ids = store.ids[rows["train"]].cpu()
        rows["train"] = rows["train"][random_split(ids, val=wanted.train, salt=salt + "-train")["val"]]
    return rows, True, None


def _divide_qm9(store: Store) -> dict[str, Tensor]:
    rows = {name: split(store.ids, name) for name in ("train", "val", "test")}
    if len(rows["val"]) == 0 and len(rows["train"]) > 10:
        # A part of QM9 without validation molecules: use some of the training molecules.
        ids = store.ids[rows["train"]].cpu()
        molecules = ids.unique()  # which may have several structures
        own = random_split(molecules, val=_VAL, salt="val")
        rows |= {name: rows["train"][torch.isin(ids, molecules[own[name]])] for name in ("train", "val")}
    return rows
