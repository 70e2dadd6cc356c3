"""Molecules from SMILES: checked, embedded, relaxed with MMFF94; one clear error for each that cannot be.

Free of torch, so that processes that do nothing else start at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import ase
import numpy as np

from zoo.elements import SYMBOLS
from zoo.errors import MissingExtraError, StructureError
from zoo.structures.conformers import Minimum, TimeLimit, conformers, mmff_minimum, uff_minimum

if TYPE_CHECKING:
    from rdkit.Chem import Atom, Mol, StereoInfo

__all__ = ["CONFORMERS", "EmbeddedMolecule", "Species", "embed", "from_smiles", "parse"]

CONFORMERS = 10
"""Embeddings of each molecule by default."""
SEED = 1

_NO_MMFF = "MMFF94 has no parameters for it: the geometry is a UFF minimum"
_SHOWN = 60  # characters of a SMILES in a message


@dataclass(frozen=True)
class Species:
    """Which molecules a model takes: those of others are refused before they cost an embedding.

    Attributes:
        model: its name, for the message.
        elements: atomic numbers.
        inputs: of the card; without ``charge`` or ``spin`` among them, ions or radicals are refused.
    """

    model: str
    elements: tuple[int, ...]
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class EmbeddedMolecule:
    """A molecule with its conformers.

    Attributes:
        smiles: canonical, with the stereochemistry of the conformers.
        numbers: (n,) atomic numbers.
        minima: distinct conformers, lowest energy first; all, or the first of them.
        found: number of distinct conformers.
        charge: of the molecule.
        spin: number of unpaired electrons.
        notes: what the user should know, such as which stereoisomer was taken.
        molecule: the RDKit molecule in its binary form, with the first conformer.
    """

    smiles: str
    numbers: np.ndarray
    minima: Sequence[Minimum]
    found: int
    charge: int = 0
    spin: int = 0
    notes: Sequence[str] = ()
    molecule: bytes = field(default=b"", repr=False)

    def atoms(self, index: int = 0) -> ase.Atoms:
        """One conformer, with ``charge`` and ``spin`` in ``info`` where they are not zero."""
        atoms = ase.Atoms(self.numbers, positions=self.minima[index].positions)
        for name in ("charge", "spin"):
            if getattr(self, name):
                atoms.info[name] = getattr(self, name)
        return atoms


def from_smiles(smiles: str, *, count: int = CONFORMERS, seed: int = SEED) -> ase.Atoms:
    """The lowest of ``count`` conformers of a molecule; raises as :func:`embed`."""
    return embed(smiles, count=count, seed=seed).atoms()


def embed(smiles: str, *, count: int = CONFORMERS, seed: int = SEED, species: Species | None = None,
          keep: int | None = None) -> EmbeddedMolecule:
    """A molecule with the distinct minima of ``count`` embeddings (ETKDGv3, MMFF94; UFF where MMFF94 lacks parameters).

    The same for every call with one version of RDKit. Where the SMILES leaves stereochemistry open, the isomer of the
    lowest conformer is taken, embedded as if it had been given, and named in the notes.

    Args:
        smiles: of one molecule.
        count: embeddings.
        seed: of the embedding, 1 or larger.
        species: what the model takes; anything by default.
        keep: number of conformers returned at most, lowest energy first; all by default.

    Raises:
        MissingExtraError: RDKit is not installed.
        StructureError: no SMILES, several molecules, a molecule outside ``species``, one without a conformer, or one
            whose conformers take more than :data:`zoo.structures.conformers.SECONDS`.
    """
    molecule = parse(smiles, species)
    notes = []
    if any(atom.GetIsotope() for atom in molecule.GetAtoms()):
        notes.append("isotopes are not distinguished: values are those of the natural mixture")
    limit = TimeLimit()
    with_hydrogens, minima, relaxed = _minima(smiles, count, seed, limit)
    places = _open_places(molecule)
    if places and not _only_mirror_images(molecule):
        isomer = _isomer(with_hydrogens, minima[0])
        notes.append(f"the SMILES leaves the stereochemistry open at {places} place{'s' if places > 1 else ''}: taken "
                     f"was {isomer}, the isomer of the lowest conformer found")
        try:
            with_hydrogens, minima, relaxed = _minima(isomer, count, seed, limit)
        except StructureError:  # a cage whose chirality RDKit cannot keep: the one conformer of it
            limit.check()
            minima = minima[:1]
    notes += [_NO_MMFF] * (not relaxed)
    return _result(with_hydrogens, minima, keep, notes)


def parse(smiles: str, species: Species | None = None) -> Mol:
    """The RDKit molecule of a SMILES, hydrogens implicit; raises as :func:`embed`."""
    if len(smiles.strip().splitlines()) > 1:
        raise StructureError(f"{smiles[:60]!r} has several lines, and RDKit would read the first. "
                             "Fix: give a list of SMILES.")
    try:
        from rdkit import Chem, rdBase
    except ImportError:
        raise MissingExtraError("reading SMILES", "smiles") from None
    smiles = smiles.strip()
    if not smiles:
        raise StructureError("there is no SMILES here. Fix: remove the line, or write a SMILES.")
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None or molecule.GetNumAtoms() == 0:
            raise StructureError(f"'{_short(smiles)}' is no SMILES that RDKit can parse{_problem(smiles)}. "
                                 "Fix: correct it.")
        parts = Chem.GetMolFrags(molecule, asMols=True)
    if len(parts) > 1:
        alone = ", ".join(map(Chem.MolToSmiles, parts))
        parent = max(parts, key=lambda part: part.GetNumAtoms())
        salt = f", the parent of a salt in its neutral form{_neutral(parent)}" if Chem.GetFormalCharge(parent) else ""
        raise StructureError(f"'{_short(smiles)}' is {len(parts)} separate molecules; a SMILES does not say where they "
                             f"are. Fix: predict each alone ({_short(alone)}){salt}, or give a file with the geometry.")
    if species is not None:
        _check_species(molecule, smiles, species)
    return molecule


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _problem(smiles: str) -> str:
    """What is wrong in a SMILES, if it is not the spelling: valences, rings that cannot be aromatic."""
    from rdkit import Chem

    raw = Chem.MolFromSmiles(smiles, sanitize=False)
    problems = Chem.DetectChemistryProblems(raw) if raw is not None else ()
    return f": {problems[0].Message().strip()}" if problems else ""


def _check_species(molecule: Mol, smiles: str, species: Species) -> None:
    from rdkit import Chem

    numbers = {atom.GetAtomicNum() for atom in molecule.GetAtoms()}
    if any(atom.GetTotalNumHs() for atom in molecule.GetAtoms()):
        numbers.add(1)
    if 0 in numbers:
        raise StructureError(f"'{_short(smiles)}' has an open place (*). Fix: write the atoms that belong there.")
    unknown = sorted(numbers - set(species.elements))
    if unknown:
        known = ", ".join(SYMBOLS[number] for number in species.elements)
        raise StructureError(f"'{_short(smiles)}' has {', '.join(SYMBOLS[number] for number in unknown)}, which is "
                             f"outside the domain of {species.model}; it knows {known}. "
                             "Fix: choose a model that was trained on these elements (zoo list).")
    charge, spin = Chem.GetFormalCharge(molecule), _unpaired(molecule)
    if charge and "charge" not in species.inputs:
        raise StructureError(f"'{_short(smiles)}' has charge {charge:+d}, and {species.model} knows neutral molecules "
                             f"only. Fix: predict the neutral form{_neutral(molecule)}, or choose a model that reads "
                             "'charge'.")
    if spin and "spin" not in species.inputs:
        raise StructureError(f"'{_short(smiles)}' has {spin} unpaired electron{'s' if spin > 1 else ''} (spin), and "
                             f"{species.model} knows closed-shell molecules only. Fix: complete the valences, or "
                             "choose a model that reads 'spin'.")


def _unpaired(molecule: Mol) -> int:
    return sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())


def _neutral(molecule: Mol) -> str:
    """`` (its SMILES)``; nothing if protons alone do not make the molecule neutral."""
    from rdkit import Chem, rdBase
    from rdkit.Chem.MolStandardize import rdMolStandardize

    with rdBase.BlockLogs():
        neutral = rdMolStandardize.Uncharger().uncharge(molecule)
    return "" if Chem.GetFormalCharge(neutral) else f" ({_short(Chem.MolToSmiles(neutral))})"


# -- conformers --------------------------------------------------------------------------------------------------------


def _minima(smiles: str, count: int, seed: int, limit: TimeLimit) -> tuple[Mol, list[Minimum], bool]:
    """The molecule, its distinct minima, and whether they are MMFF94's."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdForceFieldHelpers

    with rdBase.BlockLogs():
        known = rdForceFieldHelpers.MMFFHasAllMoleculeParams(Chem.AddHs(parse(smiles)))
    minimum = mmff_minimum if known else uff_minimum
    return *conformers(smiles, count=count, seed=seed, minimum=minimum, limit=limit), known


def _open_places(molecule: Mol) -> int:
    """Number of stereocentres and double bonds whose configuration the SMILES leaves open."""
    from rdkit import Chem

    return sum(place.specified == Chem.StereoSpecified.Unspecified for place in _stereo_places(molecule))


def _only_mirror_images(molecule: Mol) -> bool:
    """Whether the isomers are mirror images of each other, which have the same properties: one centre, nothing else."""
    from rdkit import Chem

    places = _stereo_places(molecule)
    return len(places) == 1 and places[0].type == Chem.StereoType.Atom_Tetrahedral


def _stereo_places(molecule: Mol) -> list[StereoInfo]:
    from rdkit import Chem

    return [place for place in Chem.FindPotentialStereo(molecule)
            if place.type != Chem.StereoType.Atom_Tetrahedral
            or not _inverts(molecule.GetAtomWithIdx(place.centeredOn))]


def _inverts(atom: Atom) -> bool:
    """Whether an atom is no stereocentre though RDKit counts it: amines invert, or a ring holds them without choice."""
    return atom.GetAtomicNum() == 7 and not atom.GetFormalCharge()


def _isomer(molecule: Mol, minimum: Minimum) -> str:
    """SMILES of a conformer with the stereochemistry of its geometry."""
    from rdkit import Chem

    there = _placed(molecule, minimum)
    Chem.AssignStereochemistryFrom3D(there)
    for atom in there.GetAtoms():
        if _inverts(atom):
            atom.SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    return str(Chem.MolToSmiles(Chem.RemoveHs(there)))


def _placed(molecule: Mol, minimum: Minimum) -> Mol:
    from rdkit import Chem

    there = Chem.Mol(molecule)
    there.RemoveAllConformers()
    conformer = Chem.Conformer(molecule.GetNumAtoms())
    conformer.SetPositions(np.asarray(minimum.positions, dtype=np.float64))
    there.AddConformer(conformer, assignId=True)
    return there


def _result(molecule: Mol, minima: Sequence[Minimum], keep: int | None, notes: Sequence[str]) -> EmbeddedMolecule:
    from rdkit import Chem

    return EmbeddedMolecule(
        smiles=str(Chem.MolToSmiles(Chem.RemoveHs(molecule))),
        numbers=np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()]),
        minima=list(minima[:keep]), found=len(minima), charge=Chem.GetFormalCharge(molecule), spin=_unpaired(molecule),
        notes=list(notes), molecule=_placed(molecule, minima[0]).ToBinary(),
    )
