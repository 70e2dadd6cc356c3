"""Graphs for the loop: gathered on the device of the data or, if these exceed the memory, prepared by a thread."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from zoo.data.store import Store
from zoo.graph.graph import Graph
from zoo.process.transfer import sent

__all__ = ["Prefetcher", "fits"]

_SHARE = 0.5


def fits(store: Store, device: torch.device) -> bool:
    """Whether all columns take less than half of the device's free memory, which leaves room for the model."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return _bytes(store) < _SHARE * free


class Prefetcher:
    """Makes the graph of given rows on ``device``.

    If the store is in the memory of the same device, this is an index gather, and nothing is prepared ahead. A store
    larger than half of the memory stays mapped from disk: a thread then gathers the rows given to :meth:`ahead` during
    the step before, and copies them to a GPU by a stream of its own.
    """

    def __init__(self, store: Store, dtype: torch.dtype, device: torch.device, *, threaded: bool | None = None) -> None:
        self.store, self.dtype, self.device = store, dtype, device
        if threaded is None:
            threaded = store.device.type != device.type or _bytes(store) > _SHARE * _host_memory()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="zoo-prefetch") if threaded else None
        self._stream = torch.cuda.Stream(device) if threaded and device.type == "cuda" else None
        self._waiting: dict[bytes, Future[Graph]] = {}

    def ahead(self, rows: np.ndarray) -> None:
        """Start to gather the rows of the next call."""
        if self._pool is not None:
            self._waiting[rows.tobytes()] = self._pool.submit(self._gather, rows)

    def __call__(self, rows: np.ndarray) -> Graph:
        """The graph of these rows, on the device."""
        started = self._waiting.pop(rows.tobytes(), None)
        graph = started.result() if started is not None else self._gather(rows)
        if self._stream is not None:
            now = torch.cuda.current_stream(self.device)
            now.wait_stream(self._stream)
            for tensor in _tensors(graph).values():
                tensor.record_stream(now)  # its memory is not given back while this step uses it
        return graph

    @property
    def works_ahead(self) -> bool:
        return self._pool is not None

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._waiting.clear()

    def _gather(self, rows: np.ndarray) -> Graph:
        graph = self.store.graph(torch.from_numpy(rows), dtype=self.dtype)
        with torch.cuda.stream(self._stream) if self._stream is not None else nullcontext():
            return graph.replace(**{name: sent(tensor, self.device) for name, tensor in _tensors(graph).items()})


def _tensors(graph: Graph) -> dict[str, Tensor]:
    found = {field.name: getattr(graph, field.name) for field in fields(graph)}
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _host_memory() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not known here
        return float("inf")


def _bytes(store: Store) -> int:
    columns = [store.z, store.pos, store.ptr, *store.labels.values()]
    if store.edges is not None:
        columns += [store.edges.index, store.edges.ptr]
        columns += [column for column in (store.edges.shift, store.edges.attrs) if column is not None]
    return sum(column.numel() * column.element_size() for column in columns)
