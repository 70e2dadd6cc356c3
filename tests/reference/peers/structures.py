"""The structures every reference model is evaluated on, with edges, triplets and quadruplets found by plain loops.

Nothing here comes from the zoo: the references stay independent of the code they are to check. NumPy only, so that
it runs in the environment of every peer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np


@dataclass(frozen=True)
class Batch:
    """Structures one after the other.

    Attributes:
        names: one label a structure.
        z: (N,) atomic numbers.
        pos: (N, 3) Å.
        batch: (N,) structure of each atom.
        cell: (B, 3, 3) Å, rows are lattice vectors; zeros for molecules.
        pbc: (B,) whether the structure is periodic in all three directions.
        edge_index: (2, E) source j, target i; sorted by target.
        edge_shift: (E, 3) Cartesian translation of the source atom in Å: x_ij = pos[j] + shift − pos[i].
    """

    names: list[str]
    z: np.ndarray
    pos: np.ndarray
    batch: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    edge_index: np.ndarray
    edge_shift: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: value for name, value in vars(self).items() if name != "names"}


# Å. Equilibrium shapes with every atom displaced at random by some 0.04 Å, so that no symmetry hides a mistake.
MOLECULES = {
    "water": (
        [8, 1, 1],
        [[0.0, 0.0119, 0.3866], [-0.0356, 0.7451, -0.2384], [0.0024, -0.7096, -0.2185]],
    ),
    "ethanol": (
        [6, 6, 8, 1, 1, 1, 1, 1, 1],
        [[0.8667, -0.4695, 0.0143], [-0.2724, 0.4335, -0.0012], [-1.4389, -0.3701, -0.0183],
         [-2.2993, 0.2412, -0.0737], [-0.2435, 1.0681, 0.8978], [-0.2278, 1.1113, -0.9876],
         [1.8177, 0.0542, 0.0045], [0.7908, -1.145, 0.8467], [0.8196, -1.0835, -0.9182]],
    ),
    "benzene": (
        [6, 6, 6, 6, 6, 6, 1, 1, 1, 1, 1, 1],
        [[-0.0013, 1.4306, -0.0233], [1.2039, 0.702, 0.0026], [1.1593, -0.6946, 0.0544],
         [-0.0619, -1.3609, 0.0048], [-1.234, -0.6176, 0.0305], [-1.2563, 0.7006, 0.0231],
         [-0.0076, 2.5097, -0.0027], [2.1765, 1.2987, -0.027], [2.1579, -1.2597, 0.0051],
         [-0.0475, -2.5055, -0.0078], [-2.1138, -1.1954, -0.0529], [-2.1816, 1.2671, -0.0797]],
    ),
    "hydrogen cyanide, bent": (
        [6, 7, 1],
        [[-0.0185, -0.0039, 0.0145], [0.0276, -0.0131, 1.1257], [-0.01, 0.0609, -1.1219]],
    ),
    "oxygen atom": ([8], [[0.3, -0.2, 0.1]]),
}

# A strained zinc-blende cell, smaller than the cut-off: atoms see their own images.
CRYSTAL = (
    "silicon carbide",
    [14, 6],
    [[0.05, -0.02, 0.03], [1.12, 1.05, 1.16]],
    [[0.08, 2.21, 2.15], [2.18, -0.05, 2.24], [2.13, 2.2, 0.04]],
)


def edges(pos: np.ndarray, cell: np.ndarray | None, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """All j → i with 0 < |x_ij| < cutoff, every image. Returns (2, E) and the (E, 3) Cartesian shifts."""
    images = [np.zeros(3)]
    if cell is not None:
        reach = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(cell), axis=0)).astype(int) + 1
        images = [np.array(n) @ cell for n in product(*(range(-r, r + 1) for r in reach))]
    found = []
    for i, j in product(range(len(pos)), range(len(pos))):
        for shift in images:
            length = np.linalg.norm(pos[j] + shift - pos[i])
            if 1e-8 < length < cutoff:
                found.append((j, i, shift))
    index = np.array([(j, i) for j, i, _ in found], dtype=np.int64).reshape(-1, 2).T
    return index, np.array([shift for _, _, shift in found]).reshape(-1, 3)


def make_batch(cutoff: float, *, crystal: bool, single_atom: bool = True) -> Batch:
    """The molecules, with or without the single atom, and the crystal if asked for."""
    items = [(name, z, pos, None) for name, (z, pos) in MOLECULES.items() if single_atom or len(z) > 1]
    if crystal:
        items.append(CRYSTAL)
    start, index, shift = 0, [], []
    for _, z, pos, cell in items:
        own, own_shift = edges(np.array(pos), None if cell is None else np.array(cell), cutoff)
        index.append(own + start)
        shift.append(own_shift)
        start += len(z)
    return Batch(
        names=[name for name, *_ in items],
        z=np.concatenate([np.array(z, dtype=np.int64) for _, z, _, _ in items]),
        pos=np.concatenate([np.array(pos) for _, _, pos, _ in items]),
        batch=np.repeat(np.arange(len(items)), [len(z) for _, z, _, _ in items]),
        cell=np.stack([np.zeros((3, 3)) if cell is None else np.array(cell) for *_, cell in items]),
        pbc=np.array([cell is not None for *_, cell in items]),
        edge_index=np.concatenate(index, axis=1),
        edge_shift=np.concatenate(shift),
    )


def with_edges_sorted_by(batch: Batch, row: int) -> Batch:
    """The same batch with the edges in the order of their sources (0) or targets (1)."""
    order = np.argsort(batch.edge_index[row], kind="stable")
    return replace(batch, edge_index=batch.edge_index[:, order], edge_shift=batch.edge_shift[order])


def triplets(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of edges k → j and j → i whose k is not i (as an image): (T,) numbers of k→j, (T,) numbers of j→i."""
    source, target = batch.edge_index
    kj, ji = [], []
    for b, (j, i) in enumerate(zip(source, target)):
        for a, (k, middle) in enumerate(zip(source, target)):
            back = k == i and np.allclose(batch.edge_shift[a] + batch.edge_shift[b], 0.0)
            if middle == j and not back:
                kj.append(a)
                ji.append(b)
    return np.array(kj, dtype=np.int64), np.array(ji, dtype=np.int64)
