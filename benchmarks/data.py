"""Seconds to make QM9 ready for training, and to cut a batch from it.

    python benchmarks/data.py [PATH]        PATH: any form of QM9; default: the package qm9pack
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from zoo.data import Store, open_qm9, with_edges
from zoo.data.qm9 import check_whole, to_store
from zoo.data.qm9_sources import read, read_package


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    start = time.perf_counter()
    raw = read_package() if path is None else read(path)
    read_at = time.perf_counter()
    print(f"read the {raw.source:24s} {read_at - start:8.2f} s")
    check_whole(raw)
    print(f"check every column{'':16s} {time.perf_counter() - read_at:8.2f} s")
    begin = time.perf_counter()
    store = with_edges(to_store(raw), 5.0)
    print(f"edges within 5 Å{'':18s} {time.perf_counter() - begin:8.2f} s   {store!r}")
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        store.save(Path(folder) / "qm9")
        print(f"save{'':30s} {time.perf_counter() - begin:8.2f} s")
        begin = time.perf_counter()
        store = Store.load(Path(folder) / "qm9")
        print(f"open again{'':24s} {time.perf_counter() - begin:8.4f} s")
        gather(store)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ZOO_HOME"] = folder
        begin = time.perf_counter()
        open_qm9(path, progress=False)
        print(f"open_qm9, all of this at once{'':5s} {time.perf_counter() - begin:8.2f} s")


def gather(store: Store, size: int = 64) -> None:
    """Median time to cut one random batch with its edges and labels."""
    times = []
    for _ in range(500):
        rows = torch.randint(len(store), (size,))
        begin = time.perf_counter()
        store.graph(rows)
        store.labels_of(rows)
        times.append(time.perf_counter() - begin)
    print(f"batch of {size} with edges and labels{'':2s} {1e3 * median(times):8.2f} ms  (whole epoch of 110,000: "
          f"{median(times) * 110_000 / size:.2f} s)")


if __name__ == "__main__":
    main()
