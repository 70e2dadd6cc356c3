"""Geometries of one molecule that stand for what people have instead of B3LYP's: bonds, MMFF94, GFN2-xTB, SMILES.

Free of torch, so that processes that do nothing else start at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.errors import StructureError
from zoo.structures.bonds import matching_order, molecule_from_geometry, same_bonds, same_stereo, smiles_of
from zoo.structures.conformers import Minimum, conformers, mmff_minimum
from zoo.structures.xtb import xtb_minimum

__all__ = ["EMBEDDED", "KEPT", "KINDS", "LABELS", "METHODS", "Made", "aligned", "molecule_geometries", "rmsd"]

EMBEDDED = 10
"""Conformers embedded from each SMILES."""
KEPT = 3
"""Of those, the distinct ones that are kept, lowest energy first."""

METHODS = {"bonds": "B3LYP/6-31G(2df,p)", "mmff": "MMFF94", "smiles": "ETKDGv3, MMFF94", "xtb": "GFN2-xTB"}
"""What each kind of geometry is a minimum of; ``bonds`` are read off QM9's own."""
KINDS = tuple(METHODS)
LABELS: Mapping[str, Mapping[str, str]] = {
    "bonds": {}, "mmff": {"mmff_energy": "eV", "rmsd": "Å"}, "smiles": {"mmff_energy": "eV", "conformers": "1"},
    "xtb": {"xtb_energy": "eV", "rmsd": "Å"},
}
"""Labels of each kind and their units. ``rmsd`` is the distance from the B3LYP geometry, ``conformers`` how many
distinct ones the embeddings gave."""


@dataclass
class Made:
    """What came of one molecule.

    Attributes:
        gdb: its index.
        positions: (n, 3) each, Å, in QM9's order of atoms.
        labels: one value per structure.
        bonds: (b, 3) atom, atom, order; kind ``bonds`` only.
        smiles: kind ``bonds`` only.
        failure: why there is no structure, or ``None``.
    """

    gdb: int
    positions: list[np.ndarray] = field(default_factory=list)
    labels: dict[str, list[float]] = field(default_factory=dict)
    bonds: np.ndarray | None = None
    smiles: str = ""
    failure: str | None = None


def molecule_geometries(kind: str, gdb: int, numbers: np.ndarray, positions: np.ndarray) -> Made:
    """One molecule's geometries of one kind from its B3LYP geometry; of kind ``smiles`` from its bonds alone.

    Args:
        kind: of :data:`KINDS`.
        gdb: its index, the seed of the embedding.
        numbers: (n,) atomic numbers.
        positions: (n, 3), Å.
    """
    numbers, positions = numbers.astype(np.int64), positions.astype(np.float64)
    try:
        return OF_KIND[kind](gdb, numbers, positions)
    except StructureError as error:
        return Made(gdb, failure=str(error).split(" Fix:")[0])


def _bonds(gdb: int, numbers: np.ndarray, positions: np.ndarray) -> Made:
    from rdkit import Chem

    molecule = molecule_from_geometry(numbers, positions)
    smiles = smiles_of(molecule)
    Chem.Kekulize(molecule, clearAromaticFlags=True)
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), b.GetBondTypeAsDouble()) for b in molecule.GetBonds()]
    return Made(gdb, [positions], {}, np.array(bonds, dtype=np.int64).reshape(-1, 3), smiles)


def _mmff(gdb: int, numbers: np.ndarray, positions: np.ndarray) -> Made:
    molecule = molecule_from_geometry(numbers, positions)
    return _checked(gdb, molecule, mmff_minimum(molecule), positions, "mmff_energy")


def _xtb(gdb: int, numbers: np.ndarray, positions: np.ndarray) -> Made:
    molecule = molecule_from_geometry(numbers, positions)
    return _checked(gdb, molecule, xtb_minimum(numbers, positions), positions, "xtb_energy")


def _checked(gdb: int, molecule: Any, minimum: Minimum, start: np.ndarray, energy: str) -> Made:
    # Not the stereochemistry: in cages, a carbon with all neighbours on one side changes its sign at a tiny motion.
    if not same_bonds(molecule, minimum.positions):
        return Made(gdb, failure="bonds changed")
    return Made(gdb, [minimum.positions], {energy: [minimum.energy], "rmsd": [rmsd(minimum.positions, start)]})


def _smiles(gdb: int, numbers: np.ndarray, positions: np.ndarray) -> Made:
    molecule = molecule_from_geometry(numbers, positions)
    embedded, minima = conformers(smiles_of(molecule), count=EMBEDDED, seed=gdb)
    order = matching_order(molecule, embedded)
    if not order:
        return Made(gdb, failure="the molecule of the SMILES is not the molecule the SMILES was written of")
    placed = [Minimum(one.positions[order], one.energy) for one in minima]
    whole = [one for one in placed if same_bonds(molecule, one.positions)]
    good = [one for one in whole if same_stereo(molecule, one.positions)]
    if not good:
        return Made(gdb, failure="stereochemistry changed" if whole else "bonds changed")
    kept = good[:KEPT]
    return Made(gdb, [one.positions for one in kept],
                {"mmff_energy": [one.energy for one in kept], "conformers": [float(len(good))] * len(kept)})


OF_KIND: Mapping[str, Callable[[int, np.ndarray, np.ndarray], Made]] = {
    "bonds": _bonds, "mmff": _mmff, "smiles": _smiles, "xtb": _xtb,
}


def rmsd(positions: np.ndarray, others: np.ndarray) -> float:
    """Root mean square distance of like atoms, Å, after the best translation and rotation."""
    return float(np.sqrt(np.square(aligned(positions, others) - others).sum() / len(others)))


def aligned(positions: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``positions`` (n, 3) moved and rotated onto ``target`` with the least squared distance (Kabsch 1976)."""
    centre, goal = positions.mean(0), target.mean(0)
    u, _, vt = np.linalg.svd((positions - centre).T @ (target - goal))
    u[:, -1] *= np.sign(np.linalg.det(u @ vt))
    return (positions - centre) @ (u @ vt) + goal
