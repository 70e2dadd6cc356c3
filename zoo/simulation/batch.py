"""The batch that dynamics and relaxation start from, and its fixed atoms."""

from __future__ import annotations

from collections.abc import Sequence

import ase
import torch
from torch import Tensor

from zoo.errors import StructureError
from zoo.graph.graph import Graph
from zoo.model.checks import Scope, check_structure
from zoo.model.model import Model
from zoo.structures.inputs import to_graph

__all__ = ["batch_of", "free_atoms"]


def batch_of(model: Model, structures: Sequence[ase.Atoms], *, name: str | None = None) -> Graph:
    """Check structures and join them into one float64 batch on the model's device.

    Args:
        name: what errors call a single structure.

    Raises:
        StructureError: something the model cannot take, see :func:`zoo.inference.predict`; names the structure.
    """
    scope = Scope.of(model)
    for number, atoms in enumerate(structures):
        if not isinstance(atoms, ase.Atoms):
            raise StructureError(f"structure {number} is a {type(atoms).__name__}. Fix: give ase.Atoms.")
        called = name or (f"structure {number}" if len(structures) > 1 else "the structure")
        check_structure(scope, to_graph(scope, atoms, called), called)
    return Graph.from_atoms(list(structures), dtype=torch.float64, device=model.device, inputs=scope.inputs)


def free_atoms(structures: Sequence[ase.Atoms], *, name: str | None = None) -> Tensor:
    """(N,) bool: True for atoms that no ``FixAtoms`` constraint fixes.

    Raises:
        StructureError: another kind of constraint; these work with ASE's own optimisers and dynamics and
            ``model.calculator()``.
    """
    from ase.constraints import FixAtoms

    parts = []
    for number, atoms in enumerate(structures):
        called = name or f"structure {number}"
        free = torch.ones(len(atoms), dtype=torch.bool)
        for constraint in atoms.constraints:
            if not isinstance(constraint, FixAtoms):
                raise StructureError(f"{called} has a {type(constraint).__name__}; a batch supports FixAtoms only. "
                                     "Fix: use ASE with model.calculator() for other constraints.")
            free[torch.as_tensor(constraint.get_indices())] = False
        parts.append(free)
    return torch.cat(parts)
