"""Which structures have a stress: those with a periodic direction and a cell of three vectors."""

from __future__ import annotations

import ase

__all__ = ["why_no_stress"]


def why_no_stress(atoms: ase.Atoms) -> str | None:
    """The reason why a structure has no stress, and how to fix it; ``None`` if it has one."""
    if not atoms.pbc.any():
        return ("stress is the response to a strain of periodic directions, and the structure has none. "
                "Fix: set atoms.cell and atoms.pbc, or ask for energy and forces only.")
    missing = [name for name, vector in zip("abc", atoms.cell) if not vector.any()]
    if missing:
        return (f"stress is per volume of the cell, and its vector {' and '.join(missing)} is absent, in a direction "
                "that is not periodic. Fix: give it one, as atoms.center(vacuum=8, axis=2) does; zoo relax --cell "
                "needs none.")
    return None
