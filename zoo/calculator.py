"""An ASE calculator from any model with an energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from zoo.errors import StructureError, ZooError
from zoo.graph import Graph
from zoo.model import Model
from zoo.neighbors import add_edges, edge_vectors
from zoo.prediction import check_structure
from zoo.units import factor

__all__ = ["ZooCalculator"]


@dataclass
class _Neighbours:
    """Edges within cut-off + skin, good until some atom has moved by half the skin or the cell has changed."""

    pos: Tensor
    cell: Tensor | None
    pbc: Tensor | None
    z: Tensor
    edge_index: Tensor
    edge_shift: Tensor | None

    def still_good(self, graph: Graph, skin: float) -> bool:
        same = self.z.shape == graph.z.shape and torch.equal(self.z, graph.z)
        for mine, yours in ((self.cell, graph.cell), (self.pbc, graph.pbc)):
            same = same and (mine is None) == (yours is None) and (mine is None or torch.equal(mine, yours))
        return same and bool(((graph.pos - self.pos).norm(dim=1) < skin / 2).all())


class ZooCalculator(Calculator):
    """Energy (eV), forces (eV/Å), stress (eV/Å³, ASE's sign) and energies per atom.

    Args:
        model: a model with an energy target.
        skin: Å that the neighbour list reaches beyond the cut-off, so that it can serve several steps; 0 makes it
            anew each time.

    Raises:
        ZooError: the model has no energy.
        StructureError: see :func:`zoo.prediction.check_structure`.
    """

    discard_results_on_any_change = True

    def __init__(self, model: Model, *, skin: float = 0.5, **options: Any) -> None:
        if model.energy_target is None:
            raise ZooError(f"a calculator needs an energy, and the targets are {', '.join(model.readouts)}")
        self.implemented_properties = ["energy", "free_energy", "energies", "forces"]
        if model.card is None or model.card.domain.pbc:
            self.implemented_properties.append("stress")
        super().__init__(**options)
        # Gradients with respect to weights are never asked for here.
        self.model = model.eval().requires_grad_(False)
        self.skin = skin
        self._neighbours: _Neighbours | None = None
        self._inputs = () if model.card is None else tuple(model.card.inputs)
        self._to_ev = factor(model.units[model.energy_target], "eV")

    def calculate(self, atoms: ase.Atoms | None = None, properties: Any = ("energy",),
                  system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        graph = Graph.from_atoms(self.atoms, dtype=torch.float64, device=self.model.device, inputs=self._inputs)
        if self._neighbours is None or {"numbers", "pbc", "initial_charges"} & set(system_changes):
            check_structure(self.model, graph.to("cpu"), "the structure")
        if not bool(graph.pos.isfinite().all()):
            raise StructureError("positions are not finite: has the simulation blown up?")
        graph = self._with_edges(graph)
        periodic = graph.pbc is not None and bool(graph.pbc.all())
        derivatives = ["forces", "stress"] if periodic and "stress" in properties else ["forces"]
        with torch.no_grad():
            out = self.model(graph, derivatives)
            if "energies" in properties:
                self.results["energies"] = _numpy(self.model.atomic_energies(graph) * self._to_ev)
        energy = float(out[self.model.energy_target][0]) * self._to_ev
        self.results |= {"energy": energy, "free_energy": energy, "forces": _numpy(out["forces"])}
        if "stress" in out:
            self.results["stress"] = full_3x3_to_voigt_6_stress(_numpy(out["stress"][0]))

    def _with_edges(self, graph: Graph) -> Graph:
        cutoff = self.model.backbone.cutoff
        if self._neighbours is None or not self._neighbours.still_good(graph, self.skin):
            wide = add_edges(graph, cutoff + self.skin)
            self._neighbours = _Neighbours(graph.pos, graph.cell, graph.pbc, graph.z, wide.edge_index, wide.edge_shift)
        known = self._neighbours
        graph = graph.replace(edge_index=known.edge_index, edge_shift=known.edge_shift, cutoff=cutoff)
        near = edge_vectors(graph, graph.pos, graph.cell).square().sum(1) < cutoff**2
        shift = None if known.edge_shift is None else known.edge_shift[near]
        return graph.replace(edge_index=known.edge_index[:, near], edge_shift=shift)


def _numpy(value: Tensor) -> np.ndarray:
    return value.detach().double().cpu().numpy()
