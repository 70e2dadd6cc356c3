"""Differences between an exported model and the original, measured on structures of several sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ase
import ase.data
import numpy as np
import torch
from torch import Tensor

from zoo.errors import ExportError
from zoo.exporting.signature import arguments, pad, unpad
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges
from zoo.model.model import Model
from zoo.units import factor

__all__ = ["Parity", "example", "measure"]

_RELATIVE = {torch.float32: 2e-4, torch.float64: 1e-9}
_SKIN = 0.5


@dataclass(frozen=True)
class Parity:
    """Largest differences between the exported and the original model on one structure.

    Attributes:
        case: name of the test structure.
        atoms, edges, periodic: its size.
        energy: eV per atom.
        forces: eV/Å.
        stress: eV/Å³, where there is one.
        largest_force: eV/Å, to compare with.
    """

    case: str
    atoms: int
    edges: int
    periodic: bool
    energy: float
    forces: float
    stress: float | None
    largest_force: float

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def example(model: Model) -> Graph:
    """The periodic structure that graphs are recorded on. 11 atoms: no other size of any input is 11."""
    return _graph(model, _crystal(model, (1, 1, 11), seed=0))


def measure(
    model: Model, run: Callable[..., Any], *, stress: bool, structures: Sequence[ase.Atoms] = ()
) -> list[Parity]:
    """Compare ``run`` with the model on a cluster, a crystal, a larger cluster, an atom, and ``structures``.

    Raises:
        ExportError: a difference is more than rounding.
    """
    found = [_compare(model, run, case, graph, near, stress) for case, graph, near in _cases(model, structures)]
    bound = _RELATIVE[model.dtype]
    scale = float(model.scale_in_ev)
    for parity in found:
        size = max(1.0, parity.largest_force)
        if not (parity.energy <= bound * max(size, scale) and parity.forces <= bound * size):
            raise ExportError(f"the exported model differs from the original on {parity.case}: energy by "
                              f"{parity.energy:.2g} eV/atom, forces by {parity.forces:.2g} eV/Å (largest force "
                              f"{parity.largest_force:.2g} eV/Å). Fix: export with dtype='float64'.")
    return found


def _cases(model: Model, structures: Sequence[ase.Atoms]) -> Iterator[tuple[str, Graph, Graph]]:
    """Name, edges for the exported model, edges for the original."""
    made = {
        "cluster": _cluster(model, (2, 2, 1), seed=1),
        "crystal": _crystal(model, (2, 2, 2), seed=2),
        "larger cluster": _cluster(model, (4, 3, 3), seed=3),
        "atom": _cluster(model, (1, 1, 1), seed=4),
    }
    made |= {f"given {k}": atoms for k, atoms in enumerate(structures)}
    for case, atoms in made.items():
        graph = _graph(model, atoms)
        yield case, graph, graph
    crystal = _graph(model, made["crystal"])
    yield f"crystal, edges {_SKIN} Å beyond the cut-off", _graph(model, made["crystal"], skin=_SKIN), crystal


def _compare(model: Model, run: Callable[..., Any], case: str, graph: Graph, near: Graph, stress: bool) -> Parity:
    periodic = graph.pbc is not None
    derivatives = ["forces", "stress"] if stress and periodic else ["forces"]
    with torch.no_grad():
        expected = model(near, derivatives)
        inputs, n = pad(arguments(graph), model.cutoff)
        found = unpad(run(*inputs), n)
    target = model.required_energy
    energy = expected[target][0] * factor(model.units[target], "eV")
    return Parity(
        case=case,
        atoms=graph.num_nodes,
        edges=graph.num_edges,
        periodic=periodic,
        energy=_difference(found["energy"], energy) / graph.num_nodes,
        forces=_difference(found["forces"], expected["forces"]),
        stress=_difference(found["stress"], expected["stress"][0]) if "stress" in expected else None,
        largest_force=float(expected["forces"].abs().max()),
    )


def _difference(found: Tensor, expected: Tensor) -> float:
    # NaN counts as an infinite difference: `max` would ignore it.
    return float((found - expected).abs().max().nan_to_num(nan=torch.inf))


def _graph(model: Model, atoms: ase.Atoms, *, skin: float = 0.0) -> Graph:
    graph = Graph.from_atoms(atoms, dtype=torch.float64, device=model.device)
    graph = add_edges(graph, model.cutoff + skin)
    return graph.replace(cutoff=None)


def _crystal(model: Model, shape: tuple[int, int, int], *, seed: int) -> ase.Atoms:
    atoms = _cluster(model, shape, seed=seed)
    shear = np.array([[1.0, 0.05, 0.0], [0.0, 1.0, 0.1], [0.0, 0.0, 1.0]])
    atoms.set_cell(_spacing(model) * np.array(shape)[:, None] * shear)
    atoms.pbc = True
    return atoms


def _cluster(model: Model, shape: tuple[int, int, int], *, seed: int) -> ase.Atoms:
    """Atoms of some elements of the domain on a grid, displaced a little: no distance is unphysically short."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    numbers = random.choice(_elements(model), len(grid))
    spacing = _spacing(model)
    return ase.Atoms(numbers, positions=spacing * (grid + 0.08 * random.standard_normal(grid.shape).clip(-2, 2)))


def _elements(model: Model) -> list[int]:
    return [z for z in model.elements if z < 90][:5] or list(model.elements[:5])


def _spacing(model: Model) -> float:
    """Å; longer than bonds, so that a trained model is near its data, and short enough to give angles."""
    cutoff = model.cutoff
    bond = 2.2 * max(ase.data.covalent_radii[z] for z in _elements(model))
    return min(max(bond, 0.6 * cutoff), 0.7 * cutoff)
