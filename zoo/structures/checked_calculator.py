"""What the ASE calculators of models and of exported models share: checks, and what counts as a change."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator, PropertyNotImplementedError

from zoo.errors import StructureError
from zoo.graph.graph import Graph
from zoo.model.checks import MIN_DISTANCE, Scope, check_geometry, check_structure, closest_allowed
from zoo.model.stress import why_no_stress
from zoo.structures.inputs import to_graph
from zoo.structures.stated import partial_occupancy, stated_charges, stated_spins

__all__ = ["CheckedCalculator"]

_MOVED = {"positions", "cell"}


class CheckedCalculator(Calculator):
    """An ASE calculator that refuses what its model cannot take, in every step.

    Attributes:
        scope: which structures the model takes.
        closest_allowed: Å; at shorter distances :func:`zoo.model.checks.check_distances` has to look at the pairs.
    """

    discard_results_on_any_change = True

    def __init__(self, scope: Scope, **options: Any) -> None:
        super().__init__(**options)
        self.scope = scope
        self.closest_allowed = MIN_DISTANCE
        self._checked = False

    def check_state(self, atoms: ase.Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation, including those of charge, spin and the model's further inputs."""
        changes = super().check_state(atoms, tol)
        if self.atoms is not None and self._read_inputs(atoms) != self._read_inputs(self.atoms):
            changes.append("inputs")
        return changes

    def get_property(self, name: str, atoms: ase.Atoms | None = None, allow_calculation: bool = True) -> Any:
        """As in ASE; the error of a structure that has no stress gives the reason."""
        known = self.atoms if atoms is None else atoms
        if name == "stress" and allow_calculation and name in self.implemented_properties and known is not None:
            reason = why_no_stress(known)
            if reason is not None:
                raise PropertyNotImplementedError(reason)
        return super().get_property(name, atoms, allow_calculation)

    def checked_graph(self, atoms: ase.Atoms, changes: Collection[str]) -> Graph:
        """The structure as a float64 graph on the CPU: fully checked if it is new, else its coordinates and cell.

        Raises:
            StructureError: see :func:`zoo.model.checks.check_structure`.
        """
        if self._checked and set(changes) <= _MOVED:
            graph = Graph.from_atoms(atoms, dtype=torch.float64, inputs=self.scope.inputs)
            check_geometry(graph, "the structure")
            return graph
        self._checked = False
        graph = to_graph(self.scope, atoms)
        check_structure(self.scope, graph, "the structure")
        self.closest_allowed, self._checked = closest_allowed(graph.z), True
        return graph

    def _read_inputs(self, atoms: ase.Atoms) -> list[Any]:
        """Charge, spin and the other inputs in the card, in comparable form; ASE does not check these for changes."""
        found: list[Any] = []
        try:
            found += [*stated_charges(atoms), *stated_spins(atoms), partial_occupancy(atoms)]
        except StructureError as error:
            found.append(str(error))
        for name in self.scope.inputs:
            value = atoms.info.get(name, atoms.arrays.get(name))
            found.append(None if value is None else np.asarray(value).tolist())
        return found
