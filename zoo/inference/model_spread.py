"""Several models on the same structures: mean and spread of what can be compared between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import ase
import numpy as np

from zoo.errors import ZooError
from zoo.inference.prediction import predict
from zoo.units import factor

if TYPE_CHECKING:
    from zoo.model.model import Model

__all__ = ["REFERENCE", "Agreement", "committee"]

REFERENCE = "elemental crystals of ase.collections.dcdft, unrelaxed, each with the model's own energy"


@dataclass(frozen=True)
class Agreement:
    """Mean and spread (sample standard deviation) over M models for one structure of N atoms.

    The spread is no error bar: models that were trained on the same data share their errors.

    Attributes:
        formation: (M,) eV/atom, relative to :data:`REFERENCE`; ``None`` if an element has no such crystal.
        forces: (N, 3) eV/Å, mean.
        forces_spread: (N,) eV/Å, root of the summed variances of the three components.
        stress: (3, 3) eV/Å³, mean; ``None`` for a structure without stress.
        stress_spread: eV/Å³, root of the mean variance of the nine components.
        without_formation: why there is no formation energy.
    """

    formation: np.ndarray | None
    forces: np.ndarray
    forces_spread: np.ndarray
    stress: np.ndarray | None = None
    stress_spread: float | None = None
    without_formation: str | None = None

    @property
    def formation_mean(self) -> float | None:
        """eV/atom."""
        return None if self.formation is None else float(self.formation.mean())

    @property
    def formation_spread(self) -> float | None:
        """eV/atom."""
        return None if self.formation is None else float(self.formation.std(ddof=1))

    @property
    def rms_forces_spread(self) -> float:
        """eV/Å, over the atoms."""
        return float(np.sqrt(np.square(self.forces_spread).mean()))


def committee(
    models: Sequence[Model],
    structures: Sequence[ase.Atoms],
    *,
    max_atoms: int = 512,
    on_error: Literal["raise", "keep"] = "raise",
) -> list[Any]:
    """Formation energies, forces and stress of several force fields, with their spread.

    Total energies of different models have different zeros. What is compared is the formation energy: each model's
    energy minus its own energies of the elements, see :data:`REFERENCE`.

    Args:
        models: two or more with an energy.
        max_atoms: atoms per batch.
        on_error: ``"keep"`` returns the error of a structure that one of the models cannot take in its place.

    Returns:
        One :class:`Agreement` for each structure.

    Raises:
        ZooError: fewer than two models, or one without an energy.
        StructureError: what a model cannot take.
    """
    if len(models) < 2:
        raise ZooError("a spread needs at least two models. Fix: name more, such as nequix-oam-1,nequix-mp-1")
    for model in models:
        if model.energy_target is None:
            raise ZooError(f"{_name(model)} has no energy. Fix: choose force fields")
    found = [_evaluated(model, structures, max_atoms, on_error) for model in models]
    symbols = sorted({symbol for atoms in structures for symbol in atoms.get_chemical_symbols()})
    elements = [_elements(model, symbols, max_atoms) for model in models]
    return [_agreement(atoms, [results[k] for results in found], elements) for k, atoms in enumerate(structures)]


def _evaluated(model: Model, structures: Sequence[ase.Atoms], max_atoms: int, on_error: Any) -> list[Any]:
    """Results with energies in eV; stress where all directions are periodic."""
    results: list[Any] = [None] * len(structures)
    for crystal in (True, False):
        rows = [k for k, atoms in enumerate(structures) if bool(atoms.pbc.all()) == crystal]
        wanted = ["forces", "stress"] if crystal else ["forces"]
        part = predict(model, [structures[k] for k in rows], derivatives=wanted, max_atoms=max_atoms,
                       on_error=on_error)
        for k, result in zip(rows, part):
            results[k] = result
    target = str(model.energy_target)
    to_ev = factor(model.units[target], "eV")
    return [result if isinstance(result, ZooError) else {**result, "energy": result[target] * to_ev}
            for result in results]


def _elements(model: Model, symbols: Sequence[str], max_atoms: int) -> dict[str, float | ZooError]:
    """Energy of an atom of each element in its crystal, eV, or why there is none; without a crystal, it is absent."""
    from ase.collections import dcdft

    crystals = {symbol: dcdft[symbol] for symbol in symbols if symbol in dcdft.names}
    results = predict(model, list(crystals.values()), max_atoms=max_atoms, on_error="keep")
    target = str(model.energy_target)
    to_ev = factor(model.units[target], "eV")
    return {symbol: result if isinstance(result, ZooError) else result[target] * to_ev / len(crystals[symbol])
            for symbol, result in zip(crystals, results)}


def _agreement(atoms: ase.Atoms, results: Sequence[Any], elements: Sequence[dict[str, float | ZooError]]) -> Any:
    wrong = next((result for result in results if isinstance(result, ZooError)), None)
    if wrong is not None:
        return wrong
    forces = np.stack([result["forces"] for result in results])
    stress = np.stack([result["stress"] for result in results]) if "stress" in results[0] else None
    formation, reason = _formation(atoms, [result["energy"] for result in results], elements)
    return Agreement(
        formation, forces.mean(0), np.sqrt(forces.var(0, ddof=1).sum(1)),
        None if stress is None else stress.mean(0),
        None if stress is None else float(np.sqrt(stress.var(0, ddof=1).mean())), reason)


def _formation(atoms: ase.Atoms, energies: Sequence[float], elements: Sequence[dict[str, float | ZooError]]
               ) -> tuple[np.ndarray | None, str | None]:
    """(M,) eV/atom; or None and the reason."""
    values = []
    for energy, known in zip(energies, elements):
        for symbol in atoms.get_chemical_symbols():
            reference = known.get(symbol)
            if reference is None:
                return None, f"no reference crystal of {symbol}"
            if isinstance(reference, ZooError):
                return None, f"no energy of the reference crystal of {symbol}: {reference}"
            energy -= reference
        values.append(energy / len(atoms))
    return np.array(values), None


def _name(model: Model) -> str:
    return "a model" if model.card is None else model.card.name
