"""The Hessian by automatic differentiation, and harmonic vibrations."""

from __future__ import annotations

import ase
import numpy as np
import torch
from ase.vibrations.data import VibrationsData

from zoo.inference.potential import Potential, frozen
from zoo.model.model import Model
from zoo.simulation.batch import batch_of

__all__ = ["hessian", "hessian_rows", "vibrations"]


def hessian(model: Model, atoms: ase.Atoms) -> np.ndarray:
    """Hessian ∂²E/∂r∂r (3N, 3N) in eV/Å², symmetric, by automatic differentiation instead of finite displacements.

    Raises:
        StructureError: what the model cannot take.
    """
    matrix = hessian_rows(model, atoms, len(atoms))
    return (matrix + matrix.T) / 2


def hessian_rows(model: Model, atoms: ase.Atoms, count: int) -> np.ndarray:
    """The rows of :func:`hessian` of the first ``count`` atoms, (3 count, 3N) in eV/Å²: one backward pass per row.

    Raises:
        StructureError: what the model cannot take.
    """
    potential = Potential(model)
    graph = potential.list.edges(batch_of(model, [atoms]))
    pos = graph.pos.clone().requires_grad_(True)
    with frozen(model), torch.enable_grad():
        forces = model(graph.replace(pos=pos), ("forces",))["forces"].reshape(-1)
        rows = [torch.autograd.grad(-f, pos, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
                for f in forces[: 3 * count]]
    return torch.stack(rows).reshape(len(rows), -1).double().cpu().numpy()


def vibrations(model: Model, atoms: ase.Atoms) -> VibrationsData:
    """Harmonic vibrations of a structure at a stationary point: energies, frequencies and modes as ASE gives them.

    ASE's own ``Vibrations`` works as well, by finite displacement with ``model.calculator()``; for crystals see
    :func:`zoo.properties.phonons`.
    """
    return VibrationsData.from_2d(atoms, hessian(model, atoms))
