"""Neighbour lists: milliseconds by method and size, against ASE's on the same structures in the same run.

    python benchmarks/neighbors.py [--large]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import ase.build
import torch
from ase.neighborlist import primitive_neighbor_list

from zoo.data import open_sample, to_atoms
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges

CUTOFF = 5.0


def milliseconds(work: Callable[[], object], repeats: int = 5) -> float:
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def by_ase(atoms: ase.Atoms) -> object:
    return primitive_neighbor_list("ijS", atoms.pbc, atoms.cell, atoms.positions, CUTOFF)


def main() -> None:
    print(f"{'structures':24}{'edges':>12}{'pairs':>10}{'vesin':>10}{'cells':>10}{'ASE':>10}   ms")
    store = open_sample()
    frames = [to_atoms(store, row) for row in range(128)]
    row("128 molecules of QM9", frames, ("pairs", "vesin", "cells"), ase_too=True)
    sizes = (6, 14, 29) if "--large" in sys.argv else (6, 14)
    for n in sizes:
        atoms = ase.build.bulk("Cu", cubic=True).repeat(n)
        atoms.rattle(0.02, seed=0)
        row(f"Cu, {len(atoms):,} atoms", [atoms], ("vesin", "cells"), ase_too=n < 20)


def row(name: str, frames: list[ase.Atoms], methods: tuple[str, ...], *, ase_too: bool) -> None:
    graph = Graph.from_atoms(frames, dtype=torch.float64)
    repeats = 5 if graph.num_nodes < 20_000 else 2
    cells, edges = [], set()
    for method in ("pairs", "vesin", "cells"):
        if method in methods:
            edges.add(add_edges(graph, CUTOFF, method=method).num_edges)
            cells.append(f"{milliseconds(lambda m=method: add_edges(graph, CUTOFF, method=m), repeats):10.1f}")
        else:
            cells.append(f"{'–':>10}")
    cells.append(f"{milliseconds(lambda: [by_ase(a) for a in frames], 2):10.1f}" if ase_too else f"{'–':>10}")
    (count,) = edges
    print(f"{name:24}{count:12,}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
