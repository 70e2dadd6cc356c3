"""Data: columnar stores, data sets by name, splits. Importing this package imports no torch.

Start reading in :mod:`zoo.data.store` (what a store holds), then :mod:`zoo.data.open` (how one is found).
"""

from __future__ import annotations

from zoo import lazy_names

_HOMES = {
    "EdgeTable": "edge_table", "Store": "store", "from_atoms": "frames", "from_pyg": "pyg", "open_dataset": "open",
    "open_qm9": "qm9", "open_sample": "sample", "split": "splits", "to_atoms": "frames", "with_edges": "edges",
}

__all__ = sorted(_HOMES)

__getattr__ = lazy_names(__name__, _HOMES)
