"""Which atoms of a neutral molecule are bonded, and how, from its geometry; and whether a geometry keeps its bonds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.data import covalent_radii

from zoo.errors import MissingExtraError, StructureError

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["FACTORS", "bonded", "matching_order", "molecule_from_geometry", "same_bonds", "same_stereo", "smiles_of"]

FACTORS = (1.2, 1.15, 1.25, 1.3)
"""Two atoms are bonded when they are nearer than a factor times the sum of their covalent radii (Cordero 2008). The
first factor that gives a neutral molecule with complete valences is taken: cages such as bicyclo[1.1.1]pentane need a
smaller one, long bonds a larger one."""


def bonded(numbers: np.ndarray, positions: np.ndarray, factor: float = FACTORS[0]) -> np.ndarray:
    """(n, n) bool, symmetric, false on the diagonal: which atoms are near enough for a bond.

    Args:
        numbers: (n,) atomic numbers.
        positions: (n, 3), Å.
        factor: of the sum of the covalent radii.
    """
    radii = covalent_radii[numbers]
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    near = distances < factor * (radii[:, None] + radii[None])
    np.fill_diagonal(near, False)
    return near


def molecule_from_geometry(numbers: np.ndarray, positions: np.ndarray) -> Mol:
    """An RDKit molecule with bond orders and stereochemistry, atoms in the order given, hydrogens explicit.

    Bond orders are RDKit's (``rdDetermineBonds``) for total charge 0; zwitterions get formal charges.

    Raises:
        MissingExtraError: RDKit is not installed.
        StructureError: no neutral closed-shell molecule in one piece has these bonds.
    """
    try:
        from rdkit import Chem, rdBase
    except ImportError:
        raise MissingExtraError("deriving bonds from a geometry", "smiles") from None
    positions = np.asarray(positions, dtype=np.float64)
    reasons: list[str] = []
    with rdBase.BlockLogs():
        for factor in FACTORS:
            try:
                return _with_orders(numbers, positions, bonded(numbers, positions, factor))
            except (ValueError, RuntimeError, Chem.MolSanitizeException) as error:
                reasons.append(str(error).strip().splitlines()[0])
    raise StructureError(f"no neutral closed-shell molecule has this geometry: {reasons[0]}. Fix: give a neutral "
                         "molecule in one piece, or its SMILES.")


def _with_orders(numbers: np.ndarray, positions: np.ndarray, near: np.ndarray) -> Mol:
    from rdkit import Chem
    from rdkit.Chem import rdDetermineBonds

    bare = Chem.RWMol()
    for number in numbers:
        atom = Chem.Atom(int(number))
        atom.SetNoImplicit(True)
        bare.AddAtom(atom)
    for i, j in zip(*np.nonzero(np.triu(near))):
        bare.AddBond(int(i), int(j), Chem.BondType.SINGLE)
    conformer = Chem.Conformer(len(numbers))
    conformer.SetPositions(positions)
    bare.AddConformer(conformer)
    if len(Chem.GetMolFrags(bare)) != 1:
        raise ValueError("it is in several pieces")
    molecule = bare.GetMol()
    rdDetermineBonds.DetermineBondOrders(molecule, charge=0)
    if Chem.GetFormalCharge(molecule) or any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()):
        raise ValueError("it is an ion or a radical")
    return molecule


def smiles_of(molecule: Mol) -> str:
    """Canonical SMILES with stereochemistry."""
    from rdkit import Chem

    return str(Chem.MolToSmiles(Chem.RemoveHs(molecule)))


def same_stereo(molecule: Mol, positions: np.ndarray) -> bool:
    """Whether the stereochemistry at ``positions`` (n, 3) is that of ``molecule``, as far as the molecule says one."""
    from rdkit import Chem

    there = Chem.Mol(molecule)
    conformer = Chem.Conformer(molecule.GetNumAtoms())
    conformer.SetPositions(np.asarray(positions, dtype=np.float64))
    there.RemoveAllConformers()
    there.AddConformer(conformer)
    Chem.AssignStereochemistryFrom3D(there)
    # Without hydrogens: their permutations would all be tried.
    return bool(Chem.RemoveHs(there).HasSubstructMatch(Chem.RemoveHs(molecule), useChirality=True))


def matching_order(molecule: Mol, other: Mol) -> list[int]:
    """Index in ``other`` of each atom of ``molecule``, both with explicit hydrogens; empty if they are not the same."""
    from rdkit import Chem

    if molecule.GetNumAtoms() != other.GetNumAtoms():
        return []
    skeletons = []
    for one in (molecule, other):
        copy = Chem.Mol(one)
        for atom in copy.GetAtoms():
            atom.SetIntProp("index", atom.GetIdx())
        skeletons.append(Chem.RemoveHs(copy))
    match = skeletons[1].GetSubstructMatch(skeletons[0], useChirality=True)
    index = [[atom.GetIntProp("index") for atom in one.GetAtoms()] for one in skeletons]
    order = {index[0][k]: index[1][at] for k, at in enumerate(match)}
    for mine, theirs in list(order.items()):
        hydrogens = [[h.GetIdx() for h in one.GetAtomWithIdx(at).GetNeighbors()
                      if h.GetAtomicNum() == 1 and h.GetIdx() not in taken]
                     for one, at, taken in ((molecule, mine, order.keys()), (other, theirs, set(order.values())))]
        order |= zip(*hydrogens)
    return [order[k] for k in range(molecule.GetNumAtoms())] if len(order) == molecule.GetNumAtoms() else []


def same_bonds(molecule: Mol, positions: np.ndarray) -> bool:
    """Whether the atoms at ``positions`` (n, 3) are bonded as in ``molecule``."""
    from rdkit import Chem

    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    wanted = Chem.GetAdjacencyMatrix(molecule).astype(bool)
    return any(np.array_equal(bonded(numbers, positions, factor), wanted) for factor in FACTORS)
