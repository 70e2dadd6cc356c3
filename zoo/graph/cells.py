"""Cells of periodic structures: read from ASE, and rejected if they span no volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from zoo.errors import StructureError

if TYPE_CHECKING:
    import ase

__all__ = ["cells_and_pbc", "check_cell"]

_SHORTEST = 1e-3
"""Å; shorter lattice vectors are none: ASE stores a direction without one as zeros."""
_FLATTEST = 1e-4
"""Volume spanned by the periodic lattice vectors over the product of their lengths; 1 where they are orthogonal."""


def cells_and_pbc(frames: Sequence[ase.Atoms]) -> tuple[Tensor, Tensor] | None:
    """Cells (B, 3, 3) float64 in Å and periodic directions (B, 3) bool; None if no structure is periodic.

    A lattice vector that is absent in a direction that is not periodic is completed to a unit vector.

    Raises:
        StructureError: see :func:`check_cell`; names the structure by its index.
    """
    if not any(atoms.pbc.any() for atoms in frames):
        return None
    for index, atoms in enumerate(frames):
        check_cell(np.asarray(atoms.cell), np.asarray(atoms.pbc), f"structure {index}" if len(frames) > 1 else
                   "the structure")
    cells = np.stack([np.asarray(atoms.cell.complete()) for atoms in frames])
    pbc = np.stack([np.asarray(atoms.pbc, dtype=bool) for atoms in frames])
    return torch.from_numpy(cells), torch.from_numpy(pbc)


def check_cell(cell: np.ndarray, pbc: np.ndarray, name: str) -> None:
    """Refuse a structure that is periodic along a lattice vector that it does not have.

    Args:
        cell: (3, 3) Å, rows are lattice vectors.
        pbc: (3,) bool.
        name: what errors call the structure.

    Raises:
        StructureError: a periodic lattice vector is zero, any is not finite, or the periodic ones span no volume.
    """
    cell = np.asarray(cell, dtype=np.float64)
    vectors = cell[np.asarray(pbc, dtype=bool)]
    if not len(vectors):
        return
    if not np.isfinite(cell).all():
        raise StructureError(f"{name}: its cell is not finite. Fix: correct the cell, or set atoms.pbc = False.")
    lengths = np.linalg.norm(vectors, axis=1)
    if lengths.min() < _SHORTEST:
        missing = ", ".join("abc"[k] for k in range(3) if pbc[k] and np.linalg.norm(cell[k]) < _SHORTEST)
        raise StructureError(f"{name} is periodic along {missing} and has no lattice vector there. "
                             "Fix: set atoms.cell, or atoms.pbc to the directions that are periodic.")
    unit = vectors / lengths[:, None]
    if np.sqrt(max(np.linalg.det(unit @ unit.T), 0.0)) < _FLATTEST:
        raise StructureError(f"{name} is periodic, and its lattice vectors span no volume: "
                             f"{np.round(vectors, 4).tolist()} Å. Fix: correct atoms.cell.")
