"""Rows of `zoo predict`: a structure or a SMILES, and what the model gives for it; computed in chunks, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import ase
import numpy as np

from zoo.errors import ZooError
from zoo.inference.molecules import CHUNK, Average, predict_molecules
from zoo.structures.embedding import Embedded
from zoo.structures.reading import Read
from zoo.structures.smiles import EmbeddedMolecule
from zoo.units import dimension, factor

if TYPE_CHECKING:
    from zoo.model.model import Model

__all__ = ["Predicted", "predicted"]

_ASE_UNITS = {"energy": "eV", "forces": "eV/Å", "free_energy": "eV", "dipole": "e*Å", "energies": "eV"}
_LABEL = 40  # characters of a SMILES that stands for a name


@dataclass
class Predicted:
    """One structure and what became of it.

    Attributes:
        label: the name that it goes by.
        atoms: the structure, of a SMILES the lowest conformer; ``None`` with most errors.
        line: of the file it is from, 0 if there is none.
        smiles: as it was given.
        molecule: of a SMILES.
        values: target → number or array, in the model's units.
        widths: target → half-width of the interval, ``None`` without estimates.
        outside: why it is out of distribution.
    """

    label: str
    atoms: ase.Atoms | None = None
    line: int = 0
    smiles: str = ""
    molecule: EmbeddedMolecule | None = None
    error: ZooError | None = None
    values: dict[str, Any] = field(default_factory=dict)
    widths: dict[str, float] | None = None
    outside: list[str] | None = None

    @classmethod
    def of(cls, source: Read | Embedded) -> Predicted:
        """A row that is still to be predicted."""
        if isinstance(source, Read):
            return cls(source.label, source.atoms, error=source.error)
        line, made = source
        label = line.label if len(line.label) <= _LABEL else f"{line.label[: _LABEL - 1]}…"
        if isinstance(made, ZooError):
            return cls(label, line=line.line, smiles=line.smiles, error=made)
        return cls(label, made.atoms(), line.line, line.smiles, made)

    @property
    def where(self) -> str:
        """Label for messages, with the line if there is one."""
        name = f" ({self.label})" if self.smiles or self.label != f"line {self.line}" else ""
        return f"line {self.line}{name}" if self.line else self.label

    @property
    def structure(self) -> ase.Atoms:
        """The structure of a row without an error."""
        assert self.atoms is not None
        return self.atoms

    @property
    def notes(self) -> list[str]:
        """What the user should know of the geometry."""
        return [] if self.molecule is None else list(self.molecule.notes)

    def width(self, target: str) -> float | None:
        """Half-width of the interval of a value, if there is one."""
        return (self.widths or {}).get(target)

    def reference(self, target: str, unit: str | None = None) -> float | np.ndarray | None:
        """The value that the file itself carries under the name of a target or derivative, in the shape predicted.

        Args:
            unit: of the prediction: results that ASE reads (``energy=`` and ``forces`` of extended XYZ) are converted
                to it from eV and Å; what is in ``info`` and ``arrays`` is taken as it is.
        """
        if self.atoms is None or target not in self.values:
            return None
        value = self.atoms.info.get(target, self.atoms.arrays.get(target))
        if value is None and (value := self.results.get(target)) is not None and unit is not None:
            ours = _ASE_UNITS.get(target)
            if ours is None or dimension(ours) != dimension(unit):
                return None
            value = np.asarray(value) * factor(ours, unit)
        if value is None or isinstance(value, (str, bool)) or np.shape(value) != np.shape(self.values[target]):
            return None
        return np.asarray(value, dtype=np.float64) if np.ndim(value) else float(value)

    @property
    def results(self) -> dict[str, Any]:
        """Results that ASE read with the structure, such as the energy of ``energy=``."""
        return getattr(self.structure.calc, "results", None) or {}


def predicted(model: Model, sources: Iterable[Read | Embedded], *, average: Average = "lowest", **options: Any
              ) -> Iterator[Predicted]:
    """Each source with its values or its error, lazily and in order.

    Args:
        model: applied to :data:`~zoo.inference.molecules.CHUNK` structures at once.
        sources: structures that were read, and molecules that were embedded.
        average: over the conformers of molecules.
        options: of :func:`zoo.inference.prediction.predict`.
    """
    sources = iter(sources)
    while chunk := list(islice(sources, CHUNK)):
        for _, part in groupby(chunk, key=lambda source: isinstance(source, Read)):
            rows = [Predicted.of(source) for source in part]
            good = [row for row in rows if row.error is None]
            for row, result in zip(good, _results(model, good, average, options)):
                if isinstance(result, ZooError):
                    row.error = result
                else:
                    row.widths, row.outside = result.pop("uncertainty", None), result.pop("outside", None)
                    row.values = result
            yield from rows


def _results(model: Model, rows: list[Predicted], average: Average, options: dict[str, Any]) -> list[Any]:
    molecules = [row.molecule for row in rows if row.molecule is not None]
    if molecules:
        return predict_molecules(model, molecules, average=average, **options)
    return list(model.predict([row.structure for row in rows], on_error="keep", **options))
