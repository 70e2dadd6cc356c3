"""Graphs for the loop: gathered on the device, or, where the data do not fit there, made ahead on the host."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from zoo.data.store import Store
from zoo.graph import Graph

__all__ = ["Feed", "fits"]

_SHARE = 0.5


def fits(store: Store, device: torch.device) -> bool:
    """Whether all columns take less than half of the device's free memory, which leaves room for the model."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return _bytes(store) < _SHARE * free


class Feed:
    """Makes the graph of given rows on ``device``.

    With the store on the same device it is an index gather and nothing is done ahead. Otherwise (data larger than the
    accelerator's memory, mapped from disk) one thread gathers the rows announced by :meth:`ahead` into pinned memory.
    """

    def __init__(self, store: Store, dtype: torch.dtype, device: torch.device, *, threaded: bool | None = None) -> None:
        self.store, self.dtype, self.device = store, dtype, device
        threaded = store.device.type != device.type if threaded is None else threaded
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="zoo-feed") if threaded else None
        self._waiting: dict[bytes, Future[Graph]] = {}

    def ahead(self, rows: np.ndarray) -> None:
        """Start on rows that will be asked for next."""
        if self._pool is not None:
            self._waiting[rows.tobytes()] = self._pool.submit(self._gather, rows)

    def __call__(self, rows: np.ndarray) -> Graph:
        """The graph of these rows, on the device."""
        started = self._waiting.pop(rows.tobytes(), None)
        graph = started.result() if started is not None else self._gather(rows)
        return graph if graph.device == self.device or self._pool is None else graph.to(self.device)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._waiting.clear()

    def _gather(self, rows: np.ndarray) -> Graph:
        return self.store.graph(torch.from_numpy(rows), dtype=self.dtype)


def _bytes(store: Store) -> int:
    columns = [store.z, store.pos, store.ptr, *store.labels.values()]
    if store.edges is not None:
        columns += [store.edges.index, store.edges.ptr]
        columns += [column for column in (store.edges.shift, store.edges.attrs) if column is not None]
    return sum(column.numel() * column.element_size() for column in columns)
