"""Splits by stable identity of structures: the same for every reader, library version and machine.

The QM9 test set is a file of gdb indices, one per line, ascending, with the sha256 :data:`QM9_TEST_SHA256`. It holds
the 10,831 characterised molecules whose sha256 of ``"qm9-test:<gdb>"`` is smallest. Of the others, the 10,000
with the smallest sha256 of ``"qm9-val:<gdb>"`` are the validation set and the remaining 110,000 the training set. No
random generator takes part. Importing this module imports neither torch nor numpy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, cast

from zoo.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.data.store import Store

__all__ = [
    "QM9_MOLECULES",
    "QM9_SIZES",
    "QM9_TEST_FILE",
    "QM9_TEST_SHA256",
    "by_hash",
    "named_rows",
    "qm9_ids",
    "qm9_uncharacterized",
    "random_split",
    "split",
]

SplitName = Literal["train", "val", "test"]

QM9_MOLECULES = 133_885
"""gdb indices run from 1 to this number."""
QM9_SIZES = {"train": 110_000, "val": 10_000, "test": 10_831}
QM9_TEST_FILE = "qm9-test.txt"
QM9_TEST_SHA256 = "51c824d21d95519b939bd54f24912b5811876824130bd2015e0863d383ef8a99"
QM9_UNCHARACTERIZED_SHA256 = "c9e981ed67315c6abed91451baecb3cadd1d6970f48dbf64432b38ccab80f057"


def by_hash(ids: Iterable[int], salt: str) -> list[int]:
    """``ids`` in the order of sha256("salt:id"): a shuffle that does not depend on library versions."""
    return sorted(ids, key=lambda identity: hashlib.sha256(f"{salt}:{identity}".encode()).digest())


@cache
def qm9_uncharacterized() -> frozenset[int]:
    """gdb indices of the 3,054 molecules whose geometry failed the consistency check of the QM9 paper."""
    return frozenset(_read("qm9-uncharacterized.txt", QM9_UNCHARACTERIZED_SHA256))


@cache
def qm9_ids(name: SplitName) -> tuple[int, ...]:
    """gdb indices of one split of QM9, ascending.

    Raises:
        DataError: no such split, or the shipped file of test indices was altered.
    """
    if name not in QM9_SIZES:
        raise DataError(f"there is no split '{name}'; QM9 has: {', '.join(QM9_SIZES)}. Fix: name one of these.")
    test = _read(QM9_TEST_FILE, QM9_TEST_SHA256)
    if name == "test":
        return tuple(test)
    rest = by_hash(set(range(1, QM9_MOLECULES + 1)) - qm9_uncharacterized() - set(test), "qm9-val")
    return tuple(sorted(rest[: QM9_SIZES["val"]] if name == "val" else rest[QM9_SIZES["val"] :]))


def split(ids: Tensor, name: SplitName) -> Tensor:
    """Rows of a QM9 store (or a part of it) that belong to a split, in the store's order: (n,) int64.

    Args:
        ids: (M,) int64, gdb indices, ``store.ids``.
    """
    import torch

    member = torch.zeros(QM9_MOLECULES + 1, dtype=torch.bool)
    member[torch.tensor(qm9_ids(name))] = True
    ids = ids.cpu()
    if len(ids) and (int(ids.min()) < 1 or int(ids.max()) > QM9_MOLECULES):
        raise DataError(f"the ids run from {int(ids.min())} to {int(ids.max())}; gdb indices run from 1 to "
                        f"{QM9_MOLECULES}: this is no QM9 store. Fix: give a store of QM9.")
    return member[ids].nonzero()[:, 0]


def named_rows(store: Store, name: str) -> Tensor:
    """Rows of a split that the data set itself defines: (n,) int64, in the store's order.

    ``meta["subsets"]`` (name → ids) where there is one, else the split of QM9 for stores of it.

    Raises:
        DataError: the data set defines no such split.
    """
    import torch

    subsets = store.meta.get("subsets")
    if subsets is None and store.meta.get("split") == QM9_TEST_SHA256:
        return split(store.ids, cast(SplitName, name))  # raises DataError for other splits
    if not subsets or name not in subsets:
        raise DataError(f"{store!r} defines no split '{name}'; it has: {', '.join(subsets or ()) or 'none'}. "
                        "Fix: name one of these, or split at random.")
    return torch.isin(store.ids.cpu(), torch.tensor(subsets[name], dtype=torch.int64)).nonzero()[:, 0]


def random_split(ids: Tensor, *, val: float | int, test: float | int = 0, salt: str = "split") -> dict[str, Tensor]:
    """Rows of train, val and test for a data set without a split of its own: (n,) int64 each, in the store's order.

    ``val`` and ``test`` are counts, or fractions below 1. The choice depends on ``ids`` and ``salt`` alone.

    Raises:
        DataError: nothing would be left to train on, or ids repeat.
    """
    import torch

    known = ids.tolist()
    if len(set(known)) != len(known):
        raise DataError("structures share an id, so they cannot be split by identity. "
                        "Fix: give every structure its own id.")
    n_test, n_val = (round(n * len(known)) if 0 < n < 1 else int(n) for n in (test, val))
    if n_test + n_val >= len(known) or min(n_test, n_val) < 0:
        raise DataError(f"{len(known)} structures cannot give {n_val} for validation and {n_test} for the test and "
                        "leave any to train on. Fix: lower val or test.")
    row_of = {identity: row for row, identity in enumerate(known)}
    order = [row_of[i] for i in by_hash(known, salt)]
    parts = {"train": order[n_test + n_val :], "val": order[n_test : n_test + n_val], "test": order[:n_test]}
    return {name: torch.tensor(sorted(rows), dtype=torch.int64) for name, rows in parts.items()}


def _read(file: str, sha256: str) -> list[int]:
    content = files("zoo.data").joinpath("splits", file).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(f"zoo/data/splits/{file} has sha256 {found}, expected {sha256}: the installation was altered. "
                        "Fix: pip install --force-reinstall geometric-zoo")
    return [int(line) for line in content.split()]
