"""Predictions as CSV, JSON, SDF or extended XYZ, written row by row."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import ase.io
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from zoo.errors import MissingExtraError, StructureError, ZooError
from zoo.files.atomic_writes import keep_older, replacing
from zoo.files.strict_json import json_text
from zoo.inference.rows import Predicted
from zoo.uncertainty import find

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from zoo.model.model import Model

__all__ = ["CSVWriter", "Heading", "JSONWriter", "RowWriter", "SDFWriter", "XYZWriter", "cells", "columns",
           "molecule_of", "write_failures", "writing"]

_PER_ATOM = ("forces", "energies", "stresses", "charges", "magmoms")


@dataclass(frozen=True)
class Heading:
    """What all rows share.

    Attributes:
        model: its name.
        units: of each target.
        estimated: targets with error estimates.
        level: share of errors that intervals hold.
        smiles: whether rows are from SMILES.
        atomic: targets with one row per atom.
    """

    model: str
    units: dict[str, str]
    estimated: tuple[str, ...] = ()
    level: float | None = None
    smiles: bool = False
    atomic: frozenset[str] = frozenset()

    @property
    def compared(self) -> dict[str, str]:
        """Units of what is compared with values of the file: targets and forces."""
        return {**self.units, "forces": "eV/Å"}

    @classmethod
    def of(cls, model: Model, *, uncertainty: bool, smiles: bool = False) -> Heading:
        """The heading of a model's predictions."""
        name = "untrained model" if model.card is None else model.card.name
        atomic = frozenset(target for target, kind in model.output_types.items() if kind.per == "atom")
        found = find(model) if uncertainty else None
        if found is None:
            return cls(name, model.units, smiles=smiles, atomic=atomic)
        return cls(name, model.units, tuple(t for t in model.units if t in found.facts.targets), found.facts.level,
                   smiles, atomic)


class RowWriter(ABC):
    """Writes rows into an open text file, one after another."""

    def __init__(self, file: TextIO, heading: Heading) -> None:
        self.file, self.heading = file, heading

    @abstractmethod
    def add(self, row: Predicted) -> None:
        """Write a row, or leave it out if the format has no place for an error."""

    def close(self) -> None:  # noqa: B027 - most formats have no end
        """Write what ends the file."""


class CSVWriter(RowWriter):
    """A line a row; errors have a column."""

    def __init__(self, file: TextIO, heading: Heading) -> None:
        super().__init__(file, heading)
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(columns(heading))

    def add(self, row: Predicted) -> None:
        self._writer.writerow(["" if cell is None else cell for cell in cells(row, self.heading)])


def columns(heading: Heading) -> list[str]:
    """Names of the columns of a table."""
    units = heading.units
    return ["structure", *(["line", "smiles"] if heading.smiles else []), *(f"{t} [{units[t]}]" for t in units),
            *(f"± {t} [{units[t]}]" for t in heading.estimated), *(["outside"] if heading.estimated else []),
            *(["conformers", "note"] if heading.smiles else []), "error"]


def cells(row: Predicted, heading: Heading) -> list[Any]:
    """A row of a table; ``None`` where there is no value."""
    molecule = row.molecule
    smiles = row.smiles if molecule is None else molecule.smiles
    return [row.label, *([row.line or None, smiles] if heading.smiles else []),
            *(_cell(row.values.get(target)) for target in heading.units),
            *((row.widths or {}).get(target) for target in heading.estimated),
            *(["; ".join(row.outside or ()) or None] if heading.estimated else []),
            *([None if molecule is None else molecule.found, "; ".join(row.notes) or None] if heading.smiles else []),
            None if row.error is None else str(row.error)]


def _cell(value: Any) -> Any:
    return " ".join(map(repr, np.ravel(value).tolist())) if isinstance(value, np.ndarray) else value


class JSONWriter(RowWriter):
    """One object: model, units and a list ``results``."""

    def __init__(self, file: TextIO, heading: Heading) -> None:
        super().__init__(file, heading)
        head: dict[str, Any] = {"model": heading.model, "units": heading.units}
        head |= {} if heading.level is None else {"uncertainty_level": heading.level}
        # The list stays open: rows are written as they come.
        file.write(json_text(head).removesuffix("\n}") + ',\n "results": [')
        self._separator = "\n"

    def add(self, row: Predicted) -> None:
        text = json_text(as_data(row, self.heading)).replace("\n", "\n  ")
        self.file.write(f"{self._separator}  {text}")
        self._separator = ",\n"

    def close(self) -> None:
        self.file.write("\n ]\n}\n")


def as_data(row: Predicted, heading: Heading) -> dict[str, Any]:
    """A row as an object of JSON."""
    data: dict[str, Any] = {"structure": row.label}
    if heading.smiles and row.smiles:
        data |= {"line": row.line} if row.line else {}
        data["smiles"] = row.smiles if row.molecule is None else row.molecule.smiles
    if row.error is not None:
        return data | {"error": str(row.error)}
    data |= {"formula": row.structure.get_chemical_formula(),
             "values": {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in row.values.items()}}
    if row.widths is not None:
        data |= {"uncertainty": row.widths, "outside": row.outside}
    if row.molecule is not None:
        data |= {"conformers": row.molecule.found, "notes": row.notes}
    references = {target: np.asarray(reference).tolist() for target, unit in heading.compared.items()
                  if (reference := row.reference(target, unit)) is not None}
    return data | ({"reference": references} if references else {})


class XYZWriter(RowWriter):
    """Extended XYZ: predictions as ``predicted_U0``, in columns if they are per atom, half-widths as
    ``uncertainty_U0``; errors are left out.

    The energy, forces and so on that came with a structure stay where ASE puts them (``atoms.calc``), and are repeated
    as ``reference_energy``, ``reference_forces``: names that ASE leaves alone.
    """

    def add(self, row: Predicted) -> None:
        if row.error is not None:
            return
        atoms = row.structure.copy()
        if row.results:
            atoms.calc = SinglePointCalculator(atoms, **row.results)
        for key, value in row.results.items():
            holder = atoms.arrays if key in _PER_ATOM else atoms.info
            holder[f"reference_{key}"] = np.asarray(value)
        for key, value in row.values.items():
            if key == "forces" or key in self.heading.atomic:
                atoms.arrays[f"predicted_{key}"] = value.reshape(len(atoms), -1) if value.ndim > 2 else value
            else:
                atoms.info[f"predicted_{key}"] = value
        for key, width in (row.widths or {}).items():
            atoms.info[f"uncertainty_{key}"] = width
        if row.outside:
            atoms.info["outside"] = "; ".join(row.outside)
        if row.molecule is not None:
            atoms.info |= {"smiles": row.molecule.smiles, "name": row.label}
        ase.io.write(self.file, atoms, format="extxyz")


class SDFWriter(RowWriter):
    """SDF: bonds and coordinates of each molecule with its predictions as data fields; errors are left out."""

    def __init__(self, file: TextIO, heading: Heading) -> None:
        super().__init__(file, heading)
        try:
            from rdkit import Chem
        except ImportError:
            raise MissingExtraError("writing SDF", "smiles") from None
        self._writer = Chem.SDWriter(file)

    def add(self, row: Predicted) -> None:
        if row.error is not None:
            return
        molecule = molecule_of(row)
        molecule.SetProp("_Name", row.label)
        if row.molecule is not None:
            molecule.SetProp("smiles", row.molecule.smiles)
        for key, value in row.values.items():
            if key != "forces":
                molecule.SetProp(f"{key} [{self.heading.units.get(key, '')}]", str(_cell(value)))
        for key, width in (row.widths or {}).items():
            molecule.SetProp(f"± {key} [{self.heading.units[key]}]", repr(width))
        for key, texts in (("outside", row.outside), ("note", row.notes)):
            if texts:
                molecule.SetProp(key, "; ".join(texts))
        self._writer.write(molecule)

    def close(self) -> None:
        self._writer.close()


def molecule_of(row: Predicted) -> Mol:
    """The RDKit molecule of a row with its geometry; atoms without bonds where none can be derived."""
    from rdkit import Chem

    from zoo.structures.bonds import molecule_from_geometry

    if row.molecule is not None:
        return Chem.Mol(row.molecule.molecule)  # type: ignore[call-overload]  # bytes, which RDKit's stubs do not know
    atoms = row.structure
    try:
        return molecule_from_geometry(atoms.numbers, atoms.positions)
    except StructureError:
        bare = Chem.RWMol()
        for number in atoms.numbers:
            bare.AddAtom(Chem.Atom(int(number)))
        conformer = Chem.Conformer(len(atoms))
        conformer.SetPositions(np.array(atoms.positions))
        bare.AddConformer(conformer)
        return bare.GetMol()


_FORMATS: dict[str, type[RowWriter]] = {".csv": CSVWriter, ".json": JSONWriter, ".sdf": SDFWriter}


@contextmanager
def writing(path: Path, heading: Heading) -> Iterator[RowWriter]:
    """Write rows into a file that appears whole when the block ends well: ``.csv``, ``.json``, ``.sdf``, else extended
    XYZ. Another file of that name is kept under a number.

    Raises:
        ZooError: the file cannot be written.
    """
    try:
        with (keep_older(path), replacing(path) as staging,
              staging.open("w", encoding="utf-8", newline="") as file):
            writer = _FORMATS.get(path.suffix.lower(), XYZWriter)(file, heading)
            yield writer
            writer.close()
    except OSError as error:
        raise ZooError(f"{path}: cannot be written: {error}. Fix: choose another --output.") from error


def write_failures(path: Path, rows: Iterable[Predicted]) -> None:
    """A CSV table of the rows that failed: line, name, SMILES and error; only its head if none did."""
    with keep_older(path), replacing(path) as staging, staging.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["line", "structure", "smiles", "error"])
        writer.writerows([row.line or "", row.label, row.smiles, row.error] for row in rows if row.error is not None)
