"""Data: columnar stores, data sets by name, splits. Importing this package imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "EdgeTable": "zoo.data.store",
    "Store": "zoo.data.store",
    "open_dataset": "zoo.data.open",
    "open_qm9": "zoo.data.qm9",
    "open_sample": "zoo.data.sample",
    "split": "zoo.data.splits",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo.data' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
