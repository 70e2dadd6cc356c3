"""The potential energy surface of a batch: positions in, energies, forces and stress out, in eV and Å."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ase
import torch
from torch import Tensor

from zoo.errors import StructureError, ZooError
from zoo.graph import Graph
from zoo.model import Model
from zoo.prediction import check_structure, to_graphs
from zoo.units import factor
from zoo.verlet import VerletList

__all__ = ["Evaluation", "Surface", "batch_of", "free_atoms", "frozen"]


@dataclass(frozen=True)
class Evaluation:
    """Energies (B,) eV, forces (N, 3) eV/Å and, where asked for, stress (B, 3, 3) eV/Å³; float64."""

    energy: Tensor
    forces: Tensor
    stress: Tensor | None = None


class Surface:
    """A model's energies and forces for one batch after another, with a Verlet list in between.

    Args:
        model: has an energy target.
        skin: Å, see :class:`zoo.verlet.VerletList`.

    Raises:
        ZooError: the model has no energy.
    """

    def __init__(self, model: Model, *, skin: float = 0.5) -> None:
        if model.energy_target is None:
            raise ZooError(f"a simulation needs an energy, and the targets are {', '.join(model.readouts)}")
        self.model = model
        cutoff: Any = model.backbone.cutoff
        self.list = VerletList(cutoff, skin)
        self._energy = model.energy_target
        self._to_ev = factor(model.units[self._energy], "eV")

    def __call__(self, graph: Graph, *, stress: bool = False) -> Evaluation:
        """Evaluate a batch whose positions (N, 3) are float64, on the model's device."""
        graph = self.list.edges(graph)
        with frozen(self.model), torch.no_grad():
            out = self.model(graph, ("forces", "stress") if stress else ("forces",))
        return Evaluation(out[self._energy] * self._to_ev, out["forces"].double(),
                          out["stress"].double() if stress else None)


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Inside this block no gradient with respect to weights is prepared, and dropout and the like are off.

    The model is afterwards as it was: it may be in the middle of its training.
    """
    learned = [p for p in model.parameters() if p.requires_grad]
    modes = [m for m in model.modules() if m.training] if model.training else []
    for parameter in learned:
        parameter.requires_grad_(False)
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
        for module in modes:
            module.training = True


def batch_of(model: Model, structures: Sequence[ase.Atoms]) -> Graph:
    """Checked structures as one float64 batch on the model's device.

    Raises:
        StructureError: something the model cannot take, see :func:`zoo.prediction.predict`; names the structure.
    """
    for number, atoms in enumerate(structures):
        if not isinstance(atoms, ase.Atoms):
            raise StructureError(f"structure {number} is a {type(atoms).__name__}: expected ase.Atoms")
        name = f"structure {number}" if len(structures) > 1 else "the structure"
        check_structure(model, to_graphs(model, atoms)[1][0], name)
    inputs = () if model.card is None else tuple(model.card.inputs)
    return Graph.from_atoms(list(structures), dtype=torch.float64, device=model.device, inputs=inputs)


def free_atoms(structures: Sequence[ase.Atoms]) -> Tensor:
    """(N,) bool: atoms that no ``FixAtoms`` holds.

    Raises:
        StructureError: another kind of constraint, which ASE's own optimisers and dynamics know with
            ``model.calculator()``.
    """
    from ase.constraints import FixAtoms

    parts = []
    for number, atoms in enumerate(structures):
        free = torch.ones(len(atoms), dtype=torch.bool)
        for constraint in atoms.constraints:
            if not isinstance(constraint, FixAtoms):
                raise StructureError(f"structure {number} has a {type(constraint).__name__}; a batch knows FixAtoms "
                                     "only: use ASE with model.calculator() for others")
            free[torch.as_tensor(constraint.get_indices())] = False
        parts.append(free)
    return torch.cat(parts)
