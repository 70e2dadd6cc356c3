"""Structures from files and SMILES, one bad file never losing the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase
import ase.io

from zoo.errors import MissingExtraError, StructureError, ZooError
from zoo.files.atomic_writes import replacing
from zoo.files.unpack import unpacked

__all__ = ["Read", "from_smiles", "read_structures", "write_structures"]


@dataclass(frozen=True)
class Read:
    """One structure that was read, or the error in its place.

    Attributes:
        label: file name, with ``#index`` where a file holds several.
        atoms: the structure, or ``None``.
        error: why it could not be read, or ``None``.
    """

    label: str
    atoms: ase.Atoms | None
    error: StructureError | None = None


def read_structures(paths: Iterable[Path]) -> Iterator[Read]:
    """Every structure of every file, in any format ASE reads; what follows a broken frame is lost, and said."""
    for path in paths:
        yield from _read_file(Path(path))


def _read_file(path: Path) -> Iterator[Read]:
    if not path.is_file():
        yield Read(path.name, None, StructureError(f"{path}: no such file. Fix: check the path."))
        return
    frames: list[ase.Atoms] = []
    error = None
    try:
        with unpacked(path) as plain:
            for atoms in ase.io.iread(plain, index=":"):
                frames.append(atoms)
    except Exception as cause:  # readers of many formats raise whatever they like
        where = f" after {len(frames)} structures" if frames else ""
        reason = str(cause).strip() or type(cause).__name__
        error = StructureError(f"{path}: cannot be read{where}: {reason}")
    single = len(frames) == 1 and error is None
    for index, atoms in enumerate(frames):
        yield Read(path.name if single else f"{path.name}#{index}", atoms)
    if error is None and not frames:
        error = StructureError(f"{path}: holds no structure. Fix: check that it is the right file.")
    if error is not None:
        yield Read(f"{path.name}#{len(frames)}" if frames else path.name, None, error)


def write_structures(path: Path, frames: Sequence[ase.Atoms]) -> None:
    """Extended XYZ; raises ``ZooError`` when it cannot be written."""
    try:
        with replacing(path) as staging:
            ase.io.write(staging, frames, format="extxyz")
    except OSError as error:
        raise ZooError(f"{path}: cannot be written: {error}") from error


def from_smiles(smiles: str, *, seed: int = 0) -> ase.Atoms:
    """One conformer of a molecule: ETKDG embedding, then MMFF94 relaxation (both of RDKit), the same for each call.

    Raises:
        MissingExtraError: RDKit is not installed.
        StructureError: the SMILES cannot be parsed or embedded.
    """
    try:
        from rdkit import Chem, rdBase
        from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
    except ImportError:
        raise MissingExtraError("reading SMILES", "smiles") from None
    rdBase.DisableLog("rdApp.*")
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise StructureError(f"'{smiles}' is no SMILES that RDKit can parse. Fix: correct it.")
    parts = Chem.GetMolFrags(molecule, asMols=True)
    if len(parts) > 1:
        alone = ", ".join(map(Chem.MolToSmiles, parts))
        raise StructureError(f"'{smiles}' is {len(parts)} separate molecules; a SMILES does not say where they are. "
                             f"Fix: predict each alone ({alone}), or give a file with the geometry.")
    molecule = Chem.AddHs(molecule)
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed  # type: ignore[assignment]  # an int, which RDKit's stubs do not know
    if rdDistGeom.EmbedMolecule(molecule, parameters) != 0:
        raise StructureError(f"RDKit finds no three-dimensional structure for '{smiles}'. "
                             "Fix: give a file with a geometry.")
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=1000)
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    atoms = ase.Atoms(numbers, positions=molecule.GetConformer().GetPositions())
    charge = Chem.GetFormalCharge(molecule)
    radicals = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    if charge:
        atoms.info["charge"] = charge
    if radicals:
        atoms.info["spin"] = radicals
    return atoms
