"""The primitive cell of a crystal."""

from __future__ import annotations

import ase
import numpy as np
from ase.geometry import minkowski_reduce

__all__ = ["primitive_cell"]


def primitive_cell(atoms: ase.Atoms, *, tolerance: float = 1e-3) -> ase.Atoms:
    """A copy of the crystal in its primitive cell; unchanged if its cell is primitive already.

    The lattice is that of all translations that map every atom onto an equivalent one (same element, mass, and per-atom
    charge and spin). Its basis are the three shortest independent vectors, which form a basis in three dimensions.

    Args:
        atoms: periodic in three dimensions.
        tolerance: Å, how far a translated atom may be from the one it is mapped onto.
    """
    translations = _translations(atoms, tolerance)
    if len(translations) == 1:
        return atoms.copy()
    box = minkowski_reduce(np.asarray(atoms.cell))[0]
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3) @ box
    inside = _wrapped(translations, box)
    vectors = (inside[:, None] + steps).reshape(-1, 3)
    basis = _shortest(vectors[np.argsort(np.linalg.norm(vectors, axis=1).round(6), kind="stable")], tolerance)
    kept: list[int] = []
    for i in range(len(atoms)):
        # Elements need no check: two different atoms cannot be a lattice translation apart.
        apart = _wrapped(atoms.positions[i] - atoms.positions[kept], basis)
        if not (np.linalg.norm(apart, axis=1) < 2 * tolerance).any():
            kept.append(i)
    if len(kept) * len(translations) != len(atoms):
        return atoms.copy()  # equivalence is ambiguous within the tolerance: keep the given cell
    small = atoms[kept]
    small.set_constraint()
    small.set_cell(basis)
    return small


def _translations(atoms: ase.Atoms, tolerance: float) -> np.ndarray:
    """(m, 3) Å: all translations that map the crystal onto itself, zero included."""
    cell, positions = np.asarray(atoms.cell), atoms.positions
    kinds = _kinds(atoms)
    rarest = np.flatnonzero(kinds == np.bincount(kinds).argmin())
    found = [np.zeros(3)]
    for other in rarest[1:]:
        shift = positions[other] - positions[rarest[0]]
        apart = _wrapped((positions + shift)[:, None] - positions[None], cell)
        near = (np.linalg.norm(apart, axis=2) < tolerance) & (kinds[:, None] == kinds[None])
        if near.any(1).all():
            found.append(shift)
    return np.array(found)


def _kinds(atoms: ase.Atoms) -> np.ndarray:
    columns = [atoms.numbers, atoms.get_masses(), atoms.get_initial_charges(), atoms.get_initial_magnetic_moments()]
    return np.unique(np.stack(columns, 1), axis=0, return_inverse=True)[1].reshape(-1)


def _wrapped(vectors: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Vectors (…, 3) wrapped to fractional coordinates within ±½."""
    fractional = vectors @ np.linalg.inv(cell)
    return (fractional - fractional.round()) @ cell


def _shortest(vectors: np.ndarray, tolerance: float) -> np.ndarray:
    """(3, 3): the three shortest independent vectors, right-handed."""
    basis: list[np.ndarray] = []
    for vector in vectors:
        spanned = np.array([*basis, vector])
        if np.linalg.svd(spanned, compute_uv=False).min() > 10 * tolerance:
            basis.append(vector)
        if len(basis) == 3:
            break
    cell = np.array(basis)
    return cell if np.linalg.det(cell) > 0 else -cell
