"""Minima of a force field: nearest to a geometry, or of conformers embedded from a SMILES alone (RDKit)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import MissingExtraError, StructureError
from zoo.structures.bonds import same_stereo
from zoo.units import factor

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["SECONDS", "Minimum", "TimeLimit", "conformers", "distinct", "mmff_minimum", "uff_minimum"]

SAME_ENERGY = 1e-3  # eV
SAME_DISTANCE = 0.05  # Å
SECONDS = 120
"""Time for the conformers of one molecule; ten of a drug take a second."""
_KCAL = factor("kcal/mol", "eV")
_HOPELESS = 4  # rounds without one conformer, after which no later one is expected


class TimeLimit:
    """Seconds that a molecule may take. Once they are over there is an error, and never fewer conformers: numbers must
    not depend on how fast a machine is."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raises :class:`~zoo.errors.StructureError` once the time is over."""
        if time.monotonic() > self._end:
            raise StructureError(f"its conformers take more than {self.seconds:g} s. Fix: ask for fewer "
                                 "(--conformers 1), or give a file with its geometry.")


@dataclass(frozen=True)
class Minimum:
    """A minimum of a force field or of a semi-empirical method.

    Attributes:
        positions: (n, 3) float64, Å.
        energy: eV, of that method.
    """

    positions: np.ndarray
    energy: float


def mmff_minimum(molecule: Mol, conformer: int = -1, limit: TimeLimit | None = None) -> Minimum:
    """The MMFF94 minimum that a minimisation from a conformer of ``molecule`` ends in; the molecule stays as it is.

    Raises:
        StructureError: MMFF94 lacks parameters for it, 10,000 steps do not converge, or time is over.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdForceFieldHelpers

    own = Chem.Mol(molecule, False, conformer)
    with rdBase.BlockLogs():
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(own)
    if properties is None:
        raise StructureError("MMFF94 has no parameters for this molecule. Fix: use another method's geometry.")
    return _minimised(own, rdForceFieldHelpers.MMFFGetMoleculeForceField(own, properties), "MMFF94", limit)


def uff_minimum(molecule: Mol, conformer: int = -1, limit: TimeLimit | None = None) -> Minimum:
    """The same of UFF, which has parameters for every element.

    Raises:
        StructureError: UFF lacks an atom type, 10,000 steps do not converge, or time is over.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdForceFieldHelpers

    own = Chem.Mol(molecule, False, conformer)
    with rdBase.BlockLogs():
        if not rdForceFieldHelpers.UFFHasAllMoleculeParams(own):
            raise StructureError("neither MMFF94 nor UFF has parameters for this molecule. Fix: give a structure file.")
        return _minimised(own, rdForceFieldHelpers.UFFGetMoleculeForceField(own), "UFF", limit)


def _minimised(own: Mol, field: Any, name: str, limit: TimeLimit | None) -> Minimum:
    field.Initialize()
    for _ in range(10):
        if limit is not None:
            limit.check()
        if not field.Minimize(maxIts=1000):
            return Minimum(np.array(own.GetConformer().GetPositions()), field.CalcEnergy() * _KCAL)
    raise StructureError(f"{name} does not converge in 10,000 steps. Fix: start from another geometry.")


def conformers(smiles: str, *, count: int = 10, seed: int = 1,
               minimum: Callable[[Mol, int, TimeLimit], Minimum] = mmff_minimum, limit: TimeLimit | None = None
               ) -> tuple[Mol, list[Minimum]]:
    """A molecule, and distinct MMFF94 minima of ``count`` embeddings (ETKDGv3), lowest energy first, in its atom order.

    The same for every call with one version of RDKit. Mirror images count as one.

    Args:
        smiles: of one molecule.
        count: embeddings, at least 1.
        seed: at least 1; RDKit multiplies it by the number of the embedding, and 0 would give one conformer ten times.
        minimum: relaxes a conformer of the molecule.
        limit: of the time; :data:`SECONDS` from now by default.

    Raises:
        MissingExtraError: RDKit is not installed.
        StructureError: the SMILES cannot be parsed or embedded, MMFF94 has no minimum of it, or time is over.
    """
    limit = limit or TimeLimit()
    if count < 1 or seed < 1:
        raise StructureError(f"{count} conformers with seed {seed}. Fix: give 1 or more of both.")
    try:
        from rdkit import Chem, rdBase
    except ImportError:
        raise MissingExtraError("reading SMILES", "smiles") from None
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None or molecule.GetNumAtoms() == 0:
            raise StructureError(f"'{smiles}' is no SMILES that RDKit can parse. Fix: correct the SMILES.")
        molecule = Chem.AddHs(molecule)
        made = _embed(molecule, count, seed, limit)
    if not made:
        raise StructureError(f"RDKit finds no three-dimensional structure for '{smiles}'. Fix: give a structure file.")
    minima, reasons = [], []
    for conformer in made:
        try:
            minima.append(minimum(molecule, conformer, limit))
        except StructureError as error:
            limit.check()
            reasons.append(error)
    if not minima:
        raise reasons[0]
    numbers = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
    return molecule, distinct(numbers, minima)


def _embed(molecule: Mol, count: int, seed: int, limit: TimeLimit) -> list[int]:
    """Put up to ``count`` conformers with the molecule's stereochemistry into it; returns their ids.

    In small cages RDKit's test of the chiral volumes refuses nearly every attempt. Those molecules are embedded without
    it, more often, and what has the wrong stereochemistry is mirrored or dropped.
    """
    from rdkit.Chem import rdDistGeom

    parameters: Any = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed
    parameters.maxIterations = 4  # of each conformer; most need one
    parameters.timeout = math.ceil(limit.seconds / count)
    made = _embedded(molecule, count, parameters, limit)
    if made:
        return made
    parameters.enforceChirality = False
    parameters.clearConfs = False
    for again in range(10):
        parameters.randomSeed = seed + again * 1_000_003
        for conformer in _embedded(molecule, count, parameters, limit):
            positions = molecule.GetConformer(conformer).GetPositions()
            fits = [hand for hand in (1.0, -1.0) if same_stereo(molecule, positions * [hand, 1.0, 1.0])]
            if fits:
                molecule.GetConformer(conformer).SetPositions(positions * [fits[0], 1.0, 1.0])
                made.append(conformer)
        if 2 * len(made) >= count or (not made and again + 1 == _HOPELESS):
            break
    return made[:count]


def _embedded(molecule: Mol, count: int, parameters: Any, limit: TimeLimit) -> list[int]:
    from rdkit.Chem import rdDistGeom

    parameters.trackFailures = True
    made = list(rdDistGeom.EmbedMultipleConfs(molecule, count, parameters))
    if parameters.GetFailureCounts()[int(rdDistGeom.EmbedFailureCauses.EXCEEDED_TIMEOUT)]:
        raise StructureError(f"one of its conformers takes more than {parameters.timeout} s. Fix: give a file with its "
                             "geometry.")
    limit.check()
    return made


def distinct(numbers: np.ndarray, minima: list[Minimum]) -> list[Minimum]:
    """Without duplicates, lowest energy first.

    Two minima are one if their energies agree to 1 meV and their interatomic distances, sorted within each pair of
    elements, to 0.05 Å: whatever the order of like atoms, turned or mirrored.
    """
    i, j = np.triu_indices(len(numbers), 1)
    kinds = np.minimum(numbers[i], numbers[j]) * 256 + np.maximum(numbers[i], numbers[j])
    kept: list[Minimum] = []
    known: list[np.ndarray] = []
    for minimum in sorted(minima, key=lambda one: one.energy):
        distances = np.linalg.norm(minimum.positions[i] - minimum.positions[j], axis=1)
        distances = distances[np.lexsort((distances, kinds))]
        if not any(abs(one.energy - minimum.energy) < SAME_ENERGY
                   and np.abs(other - distances).max(initial=0.0) < SAME_DISTANCE for one, other in zip(kept, known)):
            kept.append(minimum)
            known.append(distances)
    return kept
