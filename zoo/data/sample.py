"""The part of QM9 that ships with the zoo: 400 training and 100 test molecules."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from zoo.data.edges import with_edges
from zoo.data.store import Store

__all__ = ["open_sample"]


def open_sample(path: str | Path | None = None, *, cutoff: float | None = 5.0) -> Store:
    """400 training and 100 test molecules of QM9 with the twelve targets; ``meta["subsets"]`` has the ids of both.

    Args:
        path: not used; the interface of data sets requires it.
        cutoff: Å, of the edges made on opening; ``None`` for none.
    """
    store = Store.load(Path(str(files("zoo.data").joinpath("samples", "qm9"))))
    return store if cutoff is None else with_edges(store, cutoff)
