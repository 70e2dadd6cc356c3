"""Molecules in a box: a cell that a program demands, and that is no crystal."""

from __future__ import annotations

import ase
import numpy as np
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from zoo.errors import StructureError

__all__ = ["without_box"]

_BOND = 1.25
"""Atoms closer than this times the sum of their covalent radii belong to one molecule."""


def without_box(atoms: ase.Atoms) -> ase.Atoms:
    """A copy without cell and periodicity, with molecules put together that the boundary of the box cuts.

    Several molecules stay where they are in the box, each as the image of it whose centre is in the box.

    Raises:
        StructureError: atoms are bonded to images of their own molecule: it is a crystal, a slab or a chain.
    """
    free = atoms.copy()
    free.info.pop("spacegroup", None)
    if atoms.pbc.any() and atoms.cell.rank == 3:
        shifts = _shifts(atoms)
        if shifts.any():
            free.positions += shifts @ np.asarray(atoms.cell)
    free.pbc = False
    free.cell = None
    return free


def _shifts(atoms: ase.Atoms) -> np.ndarray:
    """(N, 3) whole numbers of lattice vectors that put every molecule together."""
    radii = _BOND * covalent_radii[atoms.numbers]
    source, target, images = neighbor_list("ijS", atoms, radii)
    bonds: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(len(atoms))]
    for i, j, image in zip(source, target, images):
        bonds[i].append((j, image))
    shifts = np.zeros((len(atoms), 3), dtype=int)
    seen = np.zeros(len(atoms), dtype=bool)
    for start in range(len(atoms)):
        if seen[start]:
            continue
        seen[start] = True
        members = [start]
        for i in members:  # grows
            for j, image in bonds[i]:
                if not seen[j]:
                    seen[j] = True
                    shifts[j] = shifts[i] + image
                    members.append(j)
                elif not np.array_equal(shifts[j], shifts[i] + image):
                    raise StructureError(f"atom {i} is bonded to an image of its own molecule: this is no molecule in "
                                         "a box. Fix: leave out --no-pbc, and choose a model for crystals.")
        if shifts[members].any():
            centre = atoms.cell.scaled_positions(atoms.positions[members] + shifts[members] @ np.asarray(atoms.cell))
            shifts[members] -= np.floor(centre.mean(0)).astype(int) * atoms.pbc
    return shifts
