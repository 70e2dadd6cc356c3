"""The symmetry error of a model, for every feature type and every target, in float32 and float64."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import ase
import torch
from torch import Tensor

from zoo.graph.graph import Graph
from zoo.model.model import Model
from zoo.nn.rotations import random_rotation, transform

__all__ = ["Equivariance", "equivariance"]


@dataclass(frozen=True)
class Equivariance:
    """Largest |f(R x) − D(R) f(x)| over several transformations, and the size of f for comparison.

    Attributes:
        of: ``features 1o`` or the name of a target or derivative.
        dtype: ``float32`` or ``float64``.
        proper, improper: the error for rotations, and for rotations with a reflection.
        size: root mean square of f.
    """

    of: str
    dtype: str
    proper: float
    improper: float
    size: float

    @property
    def relative(self) -> float:
        return max(self.proper, self.improper) / self.size if self.size > 0 else 0.0


def equivariance(model: Model, atoms: ase.Atoms, *, trials: int = 5, seed: int = 0) -> list[Equivariance]:
    """Measure a model on one structure under ``trials`` random rotations, each also with a reflection.

    The structure is also moved by a random translation. Targets transform as their readouts declare
    (:class:`zoo.model.output_types.OutputType`).
    """
    rows = []
    for dtype in (torch.float32, torch.float64):
        twin = copy.deepcopy(model).to(dtype).eval()
        still = _outputs(twin, atoms)
        errors = {name: [0.0, 0.0] for name in still}
        for trial in range(trials):
            rotation = random_rotation(seed + trial)
            for improper, matrix in enumerate((rotation, -rotation)):
                for name, value in _outputs(twin, _moved(atoms, matrix, seed + trial)).items():
                    expected = _transformed(twin, name, still[name].double(), matrix)
                    error = float((value.double() - expected).abs().max()) if value.numel() else 0.0
                    errors[name][improper] = max(errors[name][improper], error)
        for name, (proper, reflected) in errors.items():
            size = float(still[name].double().square().mean().sqrt()) if still[name].numel() else 0.0
            rows.append(Equivariance(name, str(dtype).removeprefix("torch."), proper, reflected, size))
    return rows


def _transformed(model: Model, name: str, value: Tensor, matrix: Tensor) -> Tensor:
    """Features or a target of a structure after an orthogonal transformation of space."""
    if name.startswith("features "):
        return transform(f"{model.layout.count(*_type_of(name))}x{name.removeprefix('features ')}", value, matrix)
    return transform("1o", value, matrix) if name == "forces" else model.output_types[name].rotated(value, matrix)


def _type_of(name: str) -> tuple[int, int]:
    text = name.removeprefix("features ")
    return int(text[:-1]), 1 if text[-1] == "e" else -1


def _outputs(model: Model, atoms: ase.Atoms) -> dict[str, Tensor]:
    """Features by irrep (N, mul·(2l+1)) and targets (rows, *shape)."""
    inputs = () if model.card is None else model.card.inputs
    graph = Graph.from_atoms(atoms, dtype=torch.float64, inputs=inputs)
    with torch.no_grad():
        h = model.features(graph)
        targets = model(graph, ["forces"] if model.energy_target else [])
    out: dict[str, Tensor] = {}
    for term in model.layout.terms:
        name = f"features {term.l}{'e' if term.p == 1 else 'o'}"
        block = h[:, term.start : term.stop]
        out[name] = torch.cat([out[name], block], 1) if name in out else block
    return out | targets


def _moved(atoms: ase.Atoms, matrix: Tensor, seed: int) -> ase.Atoms:
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ matrix.numpy().T)
    shift = torch.randn(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).numpy()
    moved.positions = atoms.positions @ matrix.numpy().T + 5 * shift
    return moved
