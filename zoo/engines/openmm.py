"""OpenMM (Eastman et al. 2024, J. Phys. Chem. B 128, 109) with energies and forces of a model, by ``PythonForce``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ase
import ase.data
import numpy as np
from ase.calculators.calculator import Calculator

from zoo.errors import MissingExtraError, ZooError
from zoo.units import factor

__all__ = ["make_force"]

_PER_NM = 10.0


def make_force(model: Any, elements: Any, *, particles: Sequence[int] | None = None, periodic: bool | None = None,
               **options: Any) -> Any:
    """A force of OpenMM that is computed by a model: add it to a ``System``.

    Args:
        model: of the zoo, with an energy; or a calculator of it (of an exported model as well).
        elements: an ``openmm.app.Topology``, or the symbols of all particles of the system.
        particles: indices of those that the model describes, such as a ligand in a force field's solvent; all, if
            absent. The others do not exist for the model: interactions with them are the business of other forces.
        periodic: whether the model sees the periodic box; by default as the topology says, else no.
        options: of the calculator, such as ``skin``, ``dtype`` and ``compile``.

    Returns:
        ``openmm.PythonForce``. It can be serialised, since models can be pickled. While OpenMM runs, what the model
        refuses (see :class:`zoo.inference.ZooCalculator`) ends the step as ``openmm.OpenMMException`` with its text.

    Raises:
        MissingExtraError: OpenMM is not installed, or has no ``PythonForce`` (before 8.4).
        ZooError: a particle that is no atom (a virtual site), a symbol of no element, an index out of range.
    """
    try:
        import openmm
    except ImportError:
        raise MissingExtraError("OpenMM", "openmm") from None
    if not hasattr(openmm, "PythonForce"):
        raise MissingExtraError("OpenMM from 8.4 on", "openmm")
    symbols = _symbols(elements)
    chosen = list(range(len(symbols))) if particles is None else [int(k) for k in particles]
    if len(set(chosen)) < len(chosen) or not all(0 <= k < len(symbols) for k in chosen) or not chosen:
        raise ZooError(f"particles {chosen[:10]}: not a list of different indices below {len(symbols)}. "
                       "Fix: give each particle that the model describes once.")
    unknown = [f"{k} ({symbols[k]})" for k in chosen if symbols[k] not in ase.data.atomic_numbers or symbols[k] == "X"]
    if unknown:
        raise ZooError(f"particle {', '.join(unknown[:5])} is no atom of an element. "
                       "Fix: leave it out of particles, or give its symbol.")
    if periodic is None:
        periodic = hasattr(elements, "getPeriodicBoxVectors") and elements.getPeriodicBoxVectors() is not None
    calculator = model if isinstance(model, Calculator) else model.calculator(**options)
    numbers = np.array([ase.data.atomic_numbers[symbols[k]] for k in chosen])
    force = openmm.PythonForce(_Computation(calculator, numbers, bool(periodic)), {},
                               [] if particles is None else chosen)
    force.setUsesPeriodicBoundaryConditions(bool(periodic))
    return force


def _symbols(elements: Any) -> list[str]:
    if hasattr(elements, "atoms"):
        return ["a virtual site" if atom.element is None else atom.element.symbol for atom in elements.atoms()]
    if isinstance(elements, str):
        raise ZooError(f"elements {elements!r} is one text. Fix: give a topology, or the symbol of each particle.")
    return [str(symbol) for symbol in elements]


class _Computation:
    """What OpenMM calls with its state: energy in kJ/mol, forces in kJ/mol/nm."""

    def __init__(self, calculator: Calculator, numbers: np.ndarray, periodic: bool) -> None:
        self.calculator, self.numbers, self.periodic = calculator, numbers, periodic

    def __call__(self, state: Any) -> tuple[float, np.ndarray]:
        from openmm.unit import angstrom

        positions = state.getPositions(asNumpy=True).value_in_unit(angstrom)
        cell = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(angstrom) if self.periodic else None
        atoms = ase.Atoms(self.numbers, positions, cell=cell, pbc=self.periodic)
        unit = factor("eV", "kJ/mol")
        forces = self.calculator.get_property("forces", atoms)
        return self.calculator.get_property("energy", atoms) * unit, forces * unit * _PER_NM
