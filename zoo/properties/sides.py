"""The two sides of a bond: the atoms that move with one end, and whether the bond is rotatable."""

from __future__ import annotations

from collections.abc import Sequence

import ase
import numpy as np

__all__ = ["lighter_side", "turns_about"]

_STRAIGHT = 5.0  # degrees from the bond axis, within which a neighbour does not define a rotation


def lighter_side(atoms: ase.Atoms, pairs: Sequence[tuple[int, int]], bond: tuple[int, int]) -> np.ndarray | None:
    """(N,) bool: the atoms on the lighter side of the bond; None if the bond is in a ring."""
    sides = []
    for start in bond:
        reached, new = {start}, [start]
        while new:
            at = new.pop()
            for pair in pairs:
                if pair != bond and at in pair:
                    other = pair[0] if pair[1] == at else pair[1]
                    if other not in reached:
                        reached.add(other)
                        new.append(other)
        if len({*bond} & reached) == 2:
            return None
        sides.append(np.isin(np.arange(len(atoms)), list(reached)))
    masses = [atoms.get_masses()[side].sum() for side in sides]
    return sides[0] if masses[0] <= masses[1] else sides[1]


def turns_about(atoms: ase.Atoms, pairs: Sequence[tuple[int, int]], bond: tuple[int, int]) -> bool:
    """Whether the bond is rotatable: both ends have a neighbour off the bond axis."""
    axis = atoms.positions[bond[1]] - atoms.positions[bond[0]]
    for end in bond:
        others = [a if b == end else b for a, b in pairs if end in (a, b) and {a, b} != {*bond}]
        arms = atoms.positions[others] - atoms.positions[end]
        lean = np.linalg.norm(np.cross(arms, axis), axis=1) / np.linalg.norm(arms, axis=1) / np.linalg.norm(axis)
        if not (lean > np.sin(np.radians(_STRAIGHT))).any():
            return False
    return True
