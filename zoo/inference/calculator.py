"""An ASE calculator from any model with an energy."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from zoo.errors import StructureError
from zoo.graph.graph import Graph
from zoo.inference.checks import check_finite, check_structure
from zoo.inference.inputs import to_graphs
from zoo.inference.potential import Potential
from zoo.loading.models import exact_copy
from zoo.model.model import Model
from zoo.structures.stated import CHARGES, MULTIPLICITIES, UNPAIRED

__all__ = ["ZooCalculator"]

_NEEDS_A_CHECK = {"numbers", "pbc", "inputs", "initial_charges"}


class ZooCalculator(Calculator):
    """Energy (eV), forces (eV/Å), stress (eV/Å³, ASE's sign) and energies per atom.

    One calculator may be used for many structures in turn; copies and pickles are independent.

    Args:
        model: a model with an energy target.
        skin: Å that the neighbour list reaches beyond the cut-off, so that it can serve several steps; 0 makes it
            anew each time.
        dtype: ``"float64"`` computes with a float64 copy of the model, for vibrations, long NVE and tight
            relaxations; as the model is, if absent.
        compile: compute with a library that torch's compiler makes of the model, once, in a minute or two; steps of
            a small model on a small molecule are faster. See :func:`zoo.exporting.compiled.compiled`.

    Raises:
        ZooError: the model has no energy, or there is no such dtype.
        ExportError: ``compile``, and the model cannot be compiled.
        StructureError: see :func:`zoo.inference.prediction.predict`.
    """

    discard_results_on_any_change = True

    def __init__(self, model: Model, *, skin: float = 0.5, dtype: torch.dtype | str | None = None,
                 compile: bool = False, **options: Any) -> None:
        self.implemented_properties = ["energy", "free_energy", "energies", "forces"]
        if model.knows_crystals:
            self.implemented_properties.append("stress")
        super().__init__(**options)
        # No gradients with respect to weights are needed here.
        self.model = (model if dtype is None else exact_copy(model, dtype)).eval().requires_grad_(False)
        self._potential = Potential(self.model, skin=skin, compile=compile)
        self._inputs = () if model.card is None else tuple(model.card.inputs)
        self._checked = False

    @property
    def skin(self) -> float:
        """Å of the Verlet list."""
        return self._potential.list.skin

    def check_state(self, atoms: ase.Atoms, tol: float = 1e-15) -> list[str]:
        """Changes since the last calculation, including those of the model's further inputs (charge, spin)."""
        changes = super().check_state(atoms, tol)
        if self.atoms is not None and not changes and self._read_inputs(atoms) != self._read_inputs(self.atoms):
            changes.append("inputs")
        return changes

    def calculate(self, atoms: ase.Atoms | None = None, properties: Any = ("energy",),
                  system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        graph = self._graph(self.atoms, system_changes)
        periodic = graph.pbc is not None and bool(graph.pbc.all())
        out = self._potential(graph, stress=periodic and "stress" in properties, atomic="energies" in properties)
        energy = float(out.energy[0])
        self.results |= {"energy": energy, "free_energy": energy, "forces": _numpy(out.forces)}
        if out.atomic is not None:
            self.results["energies"] = _numpy(out.atomic)
        if out.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(_numpy(out.stress[0]))
        check_finite(self.results, "the structure")

    def _graph(self, atoms: ase.Atoms, changes: Any) -> Graph:
        """The structure as a graph; fully checked if it is new, and for coordinates only if atoms have merely moved."""
        if not self._checked or _NEEDS_A_CHECK & set(changes):
            self._checked = False
            check_structure(self.model, to_graphs(self.model, atoms)[1][0], "the structure")
            self._checked = True
        graph = Graph.from_atoms(atoms, dtype=torch.float64, device=self.model.device, inputs=self._inputs)
        if not bool(graph.pos.isfinite().all()):
            raise StructureError("positions are not finite: the simulation has blown up. "
                                 "Fix: use a shorter timestep, or start from a relaxed structure.")
        return graph

    def _read_inputs(self, atoms: ase.Atoms) -> list[Any]:
        """Charge, spin and the other inputs in the card, in comparable form; ASE does not check these for changes."""
        found = []
        for name in dict.fromkeys((*CHARGES, *UNPAIRED, *MULTIPLICITIES, *self._inputs)):
            value = atoms.info.get(name, atoms.arrays.get(name))
            found.append(None if value is None else np.asarray(value).tolist())
        return found


def _numpy(value: Tensor) -> np.ndarray:
    return value.detach().double().cpu().numpy()
