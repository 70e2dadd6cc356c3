"""The data of a comparison: opened once, divided once, the same rows for everyone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from zoo.cards.card import Card
from zoo.comparison.question import Question
from zoo.data.of_card import CardData, open_for_card
from zoo.data.splits import by_hash
from zoo.data.store import Store
from zoo.elements import SYMBOLS
from zoo.errors import TrainingError
from zoo.training.references import solve

__all__ = ["Ground", "baseline", "default_sizes", "open_ground"]

_CUTOFF = 5.0
"""Å, of the edges that stores are likely to have already."""
_VALIDATION = 1000
_OF_EACH_ELEMENT = 3


@dataclass(frozen=True)
class Ground:
    """Where the comparison takes place.

    Attributes:
        store: every molecule that is used, labels in the units of the targets.
        train: training rows in a fixed order: the first n are the training set of size n.
        val, test: rows.
        name: of the data. labels: that are learnt.
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
        """The first ``size`` training molecules, and all others, with edges of a model's cut-off (Å)."""
        if cutoff not in self._with_edges:
            ready = self.store.edges is not None and self.store.edges.cutoff in (None, cutoff)
            self._with_edges[cutoff] = self.store if ready else self.store.with_edges(cutoff, progress=True)
        rows = {"train": self.train[:size].sort().values, "val": self.val, "test": self.test}
        return CardData(self._with_edges[cutoff], rows, self.name, own=True)


    def digest(self, size: int) -> str:
        """Hash of the structures and labels that a training of this size sees, and of their division."""
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


def open_ground(question: Question, *, path: str | Path | None, sizes: Sequence[int] | None,
                test: int | None) -> Ground:
    """Open the data and take the rows that are used.

    Raises:
        DataError: the data cannot be opened, or lack a target.
        TrainingError: a size that the data do not have.
    """
    card = Card.from_dict({"schema": 1, "name": "comparison", "architecture": "any", "data": question.data,
                           "targets": {n: s.model_dump(exclude_unset=True) for n, s in question.targets.items()}})
    found = open_for_card(card, cutoff=_CUTOFF, labels=question.labels, path=path)
    there = len(found.rows["train"])
    if sizes is not None and (not sizes or min(sizes) < 1 or max(sizes) > there):
        raise TrainingError(f"sizes {', '.join(map(str, sizes)) or 'none'}: {found.name} has {there} molecules to "
                            "train on: give numbers from 1 to that")
    if not len(found.rows["val"]):
        raise TrainingError(f"{found.name} has no molecules to validate on")
    parts = [_elements_first(found.store, _shuffled(found.store, found.rows["train"], "compare-train"))
             [:max(sizes or [there])],
             _shuffled(found.store, found.rows["val"], "compare-val")[:_VALIDATION].sort().values,
             _shuffled(found.store, found.rows["test"], "compare-test")[:test].sort().values]
    used = torch.cat(parts).sort().values
    store = found.store
    if 2 * len(used) < len(store):
        # In the order of the whole: batches, which are planned from rows in order, are then the same.
        store, parts = store.subset(used), [torch.searchsorted(used, part) for part in parts]
    train, val, tested = parts
    return Ground(store, train, val, tested, found.name, tuple(question.labels))


def default_sizes(there: int) -> list[int]:
    """An eighth, a quarter, half and all."""
    return sorted({max(1, there // part) for part in (8, 4, 2, 1)})


def baseline(ground: Ground, size: int, name: str) -> float | None:
    """Test MAE of a linear fit to the numbers of atoms of each element: what any network has to beat.

    ``None`` for labels that are no scalars of structures.
    """
    store = ground.store
    label = store.labels[name].double()
    if name in store.per_atom or label.dim() != 1 or not len(ground.test):
        return None
    composition = store.composition().double()
    basis = torch.cat([composition, torch.ones(len(store), 1, dtype=torch.float64)], 1)
    train = ground.train[:size]
    train, test = (rows[label[rows].isfinite()] for rows in (train, ground.test))
    coefficients = solve(basis[train], label[train, None])
    return float((basis[test] @ coefficients - label[test, None]).abs().mean())


def _shuffled(store: Store, rows: Tensor, salt: str) -> Tensor:
    """Rows in an order that depends on their ids alone."""
    ids = store.ids[rows].tolist()
    place = dict(zip(ids, rows.tolist()))
    return torch.tensor([place[i] for i in by_hash(ids, salt)], dtype=torch.int64)


def _elements_first(store: Store, rows: Tensor) -> Tensor:
    """The same order, but the first structures with each element lead.

    Otherwise a small training set may lack a rare element, whose reference energy nothing would then determine, and
    the errors of a few test molecules, thousands of eV, would be all that is compared.
    """
    has = store.composition()[rows] > 0
    first = has & (has.cumsum(0) <= _OF_EACH_ELEMENT)
    leads = first.any(1)
    return torch.cat([rows[leads], rows[~leads]])
