"""Structures from files and SMILES, one bad file never losing the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import ase
import ase.io

from zoo.errors import MissingExtraError, StructureError, ZooError
from zoo.files.atomic_writes import replacing
from zoo.structures.formats import frames_of

__all__ = ["Read", "from_smiles", "read_structures", "write_structures"]


@dataclass(frozen=True)
class Read:
    """One structure that was read, or the error in its place.

    Attributes:
        label: file name, with ``#index`` where a file holds several; the path where two files have one name.
        atoms: the structure, or ``None``.
        error: why it could not be read, or ``None``.
    """

    label: str
    atoms: ase.Atoms | None
    error: StructureError | None = None


def read_structures(paths: Iterable[Path]) -> Iterator[Read]:
    """Every structure of every file in any format of :func:`~zoo.structures.formats.frames_of`; what cannot be read
    is an error in its place, and what follows it is kept where the format allows that."""
    paths = [Path(path) for path in paths]
    names = Counter(path.name for path in paths)
    for path in paths:
        yield from _read_file(path, path.name if names[path.name] == 1 else str(path))


def _read_file(path: Path, label: str) -> Iterator[Read]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        yield Read(label, None, StructureError(f"{path}: {what}. Fix: check the path."))
        return
    items = frames_of(path)
    first = next(items, None)
    if first is None:
        yield Read(label, None, StructureError(f"{path}: holds no structure. Fix: check that it is the right file."))
        return
    second = next(items, None)
    if second is None:
        yield _read(label, first)
        return
    for index, item in enumerate(chain((first, second), items)):
        yield _read(f"{label}#{index}", item)


def _read(label: str, item: ase.Atoms | StructureError) -> Read:
    return Read(label, None, item) if isinstance(item, StructureError) else Read(label, item)


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
