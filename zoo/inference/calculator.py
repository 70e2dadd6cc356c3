"""An ASE calculator from any model with an energy."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from zoo.inference.potential import Potential
from zoo.loading.building import exact_copy
from zoo.model.checks import Scope, check_distances, check_finite
from zoo.model.model import Model
from zoo.model.plausible import EnergyLimits, check_energy
from zoo.model.stress import why_no_stress
from zoo.structures.checked_calculator import CheckedCalculator

__all__ = ["ZooCalculator"]


class ZooCalculator(CheckedCalculator):
    """Energy (eV), forces (eV/Å), stress (eV/Å³, ASE's sign) and energies per atom.

    One calculator may be used for many structures in turn; copies and pickles are independent. Every thread needs a
    calculator of its own, as ASE's calculators keep their last result; the model may be the same.

    Stress is per volume of the given cell, as in ASE. A slab or wire, periodic in two directions or one, has a stress
    if its cell has three vectors; components along directions that are not periodic are the virial of the atoms, and
    the filters of ASE that relax cells take a ``mask`` for them.

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

    def __init__(self, model: Model, *, skin: float = 0.5, dtype: torch.dtype | str | None = None,
                 compile: bool = False, **options: Any) -> None:
        self.implemented_properties = ["energy", "free_energy", "energies", "forces"]
        if model.knows_crystals:
            self.implemented_properties.append("stress")
        super().__init__(Scope.of(model), **options)
        # No gradients with respect to weights are needed here.
        self.model = (model if dtype is None else exact_copy(model, dtype)).eval().requires_grad_(False)
        self._potential = Potential(self.model, skin=skin, compile=compile)
        self._stress_asked = False
        self._limits: tuple[float, float] | None = None  # eV, of the atoms of the last calculation

    @property
    def skin(self) -> float:
        """Å of the Verlet list."""
        return self._potential.list.skin

    @torch.inference_mode(False)
    def calculate(self, atoms: ase.Atoms | None = None, properties: Any = ("energy",),
                  system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        if "numbers" in system_changes:
            self._limits = None
        graph = self.checked_graph(self.atoms, system_changes).to(self.model.device)
        if self._limits is None:
            self._limits = EnergyLimits.of(self.model).of_atoms(self.atoms.numbers)
        graph = self._potential.list.edges(graph)
        if self._potential.list.shortest < self.closest_allowed:
            check_distances(graph, "the structure")
        # Who relaxes a cell asks for forces, then for stress: from the second step on, one evaluation gives both.
        self._stress_asked |= "stress" in properties
        stress = self._stress_asked and why_no_stress(self.atoms) is None
        out = self._potential(graph, stress=stress, atomic="energies" in properties)
        energy = float(out.energy[0])
        results = {"energy": energy, "free_energy": energy, "forces": _numpy(out.forces)}
        if out.atomic is not None:
            results["energies"] = _numpy(out.atomic)
        if out.stress is not None:
            results["stress"] = full_3x3_to_voigt_6_stress(_numpy(out.stress[0]))
        check_finite(results, "the structure")
        check_energy(energy, self._limits, "the structure")
        self.results |= results


def _numpy(value: Tensor) -> np.ndarray:
    return value.detach().double().cpu().numpy()
