"""The data of a comparison: opened once, split once, the same rows for every model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from zoo.cards.card import Card
from zoo.comparison.setup import Setup
from zoo.data.edges import with_edges
from zoo.data.of_card import CardData, open_for_card
from zoo.data.splits import by_hash
from zoo.data.store import Store
from zoo.elements import SYMBOLS
from zoo.errors import TrainingError
from zoo.training.references import solve

__all__ = ["SharedDataset", "baseline", "default_sizes", "open_shared"]

_CUTOFF = 5.0
"""Å, cut-off of the edges that stores usually have already."""
_VALIDATION = 1000
_OF_EACH_ELEMENT = 3


@dataclass(frozen=True)
class SharedDataset:
    """The dataset and splits shared by all models.

    Attributes:
        store: all molecules in use, with labels in the units of the targets.
        train: training rows in a fixed order: the first n are the training set of size n.
        val, test: rows of the validation and test splits.
        name: name of the data.
        labels: the labels that are learned.
    """

    store: Store
    train: Tensor
    val: Tensor
    test: Tensor
    name: str
    labels: tuple[str, ...]
    _with_edges: dict[float, Store] = field(default_factory=dict)
    _digests: dict[int, str] = field(default_factory=dict)

    @property
    def elements(self) -> list[str]:
        return [SYMBOLS[z] for z in self.store.elements]

    @property
    def periodic(self) -> bool:
        return self.store.pbc is not None and bool(self.store.pbc.any())

    def of_size(self, size: int, cutoff: float) -> CardData:
        """The first ``size`` training molecules and all of the other splits, with edges up to a cut-off in Å."""
        if cutoff not in self._with_edges:
            ready = self.store.edges is not None and self.store.edges.cutoff in (None, cutoff)
            self._with_edges[cutoff] = self.store if ready else with_edges(self.store, cutoff, progress=True)
        rows = {"train": self.train[:size].sort().values, "val": self.val, "test": self.test}
        return CardData(self._with_edges[cutoff], rows, self.name, own=True)

    def digest(self, size: int) -> str:
        """Hash of the structures, labels and splits of a run of this size."""
        if size in self._digests:
            return self._digests[size]
        found = hashlib.sha256()
        bare = replace(self.store, edges=None)
        for rows in (self.train[:size].sort().values, self.val, self.test):
            part = bare.subset(rows)
            for column in (part.z, part.pos, part.ptr, part.cell, *(part.labels[name] for name in self.labels)):
                if column is not None:
                    found.update(column.contiguous().numpy().tobytes())
        return self._digests.setdefault(size, found.hexdigest())


def open_shared(setup: Setup, *, path: str | Path | None, sizes: Sequence[int] | None,
                test: int | None) -> SharedDataset:
    """Open the data and select the rows to use.

    Raises:
        DataError: the data cannot be opened, or lack a target.
        TrainingError: a size is larger than the training split, or there is no validation split.
    """
    card = Card.from_dict({"schema": 1, "name": "comparison", "architecture": "any", "data": setup.data,
                           "targets": {n: s.model_dump(exclude_unset=True) for n, s in setup.targets.items()}})
    found = open_for_card(card, cutoff=_CUTOFF, labels=setup.labels, path=path)
    available = len(found.rows["train"])
    if sizes is not None and (not sizes or min(sizes) < 1 or max(sizes) > available):
        raise TrainingError(f"sizes {', '.join(map(str, sizes)) or 'none'}: {found.name} has {available} molecules "
                            f"to train on. Fix: give --sizes from 1 to {available}")
    if not len(found.rows["val"]):
        raise TrainingError(f"{found.name} has no molecules to validate on. Fix: choose data with a validation split")
    parts = [_elements_first(found.store, _shuffled(found.store, found.rows["train"], "compare-train"))
             [:max(sizes or [available])],
             _shuffled(found.store, found.rows["val"], "compare-val")[:_VALIDATION].sort().values,
             _shuffled(found.store, found.rows["test"], "compare-test")[:test].sort().values]
    used = torch.cat(parts).sort().values
    store = found.store
    if 2 * len(used) < len(store):
        # Rows keep their order, from which batches are planned, so that batches do not depend on the subset.
        store, parts = store.subset(used), [torch.searchsorted(used, part) for part in parts]
    train, val, tested = parts
    return SharedDataset(store, train, val, tested, found.name, tuple(setup.labels))


def default_sizes(available: int) -> list[int]:
    """An eighth, a quarter, half and all of the training molecules."""
    return sorted({max(1, available // part) for part in (8, 4, 2, 1)})


def baseline(shared: SharedDataset, size: int, name: str) -> float | None:
    """Test MAE of a linear fit to the numbers of atoms of each element, which uses no geometry.

    ``None`` for labels that are not one number a structure.
    """
    store = shared.store
    label = store.labels[name].double()
    if name in store.per_atom or label.dim() != 1 or not len(shared.test):
        return None
    composition = store.composition().double()
    basis = torch.cat([composition, torch.ones(len(store), 1, dtype=torch.float64)], 1)
    train = shared.train[:size]
    train, test = (rows[label[rows].isfinite()] for rows in (train, shared.test))
    coefficients = solve(basis[train], label[train, None])
    return float((basis[test] @ coefficients - label[test, None]).abs().mean())


def _shuffled(store: Store, rows: Tensor, salt: str) -> Tensor:
    """Rows in an order that depends only on their ids."""
    ids = store.ids[rows].tolist()
    place = dict(zip(ids, rows.tolist()))
    return torch.tensor([place[i] for i in by_hash(ids, salt)], dtype=torch.int64)


def _elements_first(store: Store, rows: Tensor) -> Tensor:
    """The same order, except that the first few structures with each element come first.

    Otherwise a small training set may lack a rare element. Its reference energy would then be undetermined, and errors
    of thousands of eV on a few test molecules would dominate the mean.
    """
    has = store.composition()[rows] > 0
    first = has & (has.cumsum(0) <= _OF_EACH_ELEMENT)
    early = first.any(1)
    return torch.cat([rows[early], rows[~early]])
