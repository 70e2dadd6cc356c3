"""Results that are beyond anything a property can be: a model has lost its footing, and gives numbers all the same."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo.errors import StructureError
from zoo.graph.graph import Graph
from zoo.model.model import Model
from zoo.model.readouts import Readout
from zoo.units import dimension, factor

__all__ = ["EnergyLimits", "check_energy", "implausible"]

_FURTHEST = 1e5
"""Standard deviations of the training data, per atom; structures like those trained on stay below ten."""
_BINDING = 1e4
"""eV per atom; the screened repulsion of nuclei at 0.3 of the sum of their covalent radii stays below a tenth of it."""
_ELECTRONS = 2e6
"""eV per atom; the electrons of no atom are bound by more."""


def implausible(model: Model, outputs: Mapping[str, Tensor], graph: Graph) -> list[str | None]:
    """For each of B structures, which result cannot be; ``None`` where all can.

    The measure is the distance from the fitted linear part, such as the energies of the lone atoms, per atom: 10⁵
    standard deviations of the training data; for total energies at least 10⁴ eV. Targets per edge are not judged, nor
    are those whose scale was never fitted.

    Args:
        outputs: of :meth:`zoo.model.model.Model.forward` for the batch, in physical units.
        graph: the batch.
    """
    reasons: list[str | None] = [None] * graph.num_graphs
    composition = model.composition(graph)
    n_atoms = graph.ptr.diff().clamp(min=1)
    for name, readout in model.readouts.items():
        limit = _limit(readout, model.units[name])
        if limit is None or readout.per == "edge":
            continue
        value = outputs[name].detach().double()
        linear = readout.physical(torch.zeros_like(value), graph, composition)
        away = (value - linear).abs().flatten(1).amax(1) if value.dim() > 1 else (value - linear).abs()
        if readout.per == "atom":
            away = away.new_zeros(graph.num_graphs).scatter_reduce_(0, graph.batch, away, "amax")
        else:
            away = away / n_atoms
        for b in torch.nonzero((away > limit) & away.isfinite())[:, 0].tolist():
            reasons[b] = reasons[b] or _reason(name, model.units[name], float(away[b]))
    return reasons


def check_energy(energy: float, limits: tuple[float, float], name: str) -> None:
    """Raise ``StructureError`` for an energy in eV outside of ``limits``, see :class:`EnergyLimits`."""
    low, high = limits
    if not low <= energy <= high:
        raise StructureError(f"{name}: the model gives an energy of {energy:.4g} eV, and these atoms have none outside "
                             f"{low:.4g} to {high:.4g} eV: the model knows nothing like this structure. Fix: start "
                             "from another geometry, or choose a model that was trained on such ones (zoo list).")


@dataclass(frozen=True)
class EnergyLimits:
    """Lowest and highest energy that structures can have, as in :func:`implausible`.

    Attributes:
        lone: atomic number → eV, where the fit of one atom starts.
        spread: eV per atom, up and down from there.
    """

    lone: Mapping[int, float]
    spread: float

    @classmethod
    def of(cls, model: Model) -> EnergyLimits:
        """Those of the model's energy target."""
        name = model.required_energy
        readout, to_ev = model.readouts[name], factor(model.units[name], "eV")
        limit = _limit(readout, model.units[name])
        assert limit is not None  # energies always have one
        lone = (readout.constants.coefficients.double() * to_ev).tolist()
        return cls(dict(zip(model.elements, lone, strict=True)), limit * to_ev)

    def of_atoms(self, numbers: np.ndarray) -> tuple[float, float]:
        """Lowest and highest energy in eV of a structure with these (N,) atomic numbers."""
        lone, spread = sum(self.lone[int(z)] for z in numbers), self.spread * len(numbers)
        return lone - spread, lone + spread

    def of_batch(self, graph: Graph) -> Tensor:
        """(B, 2) eV, on the graph's device."""
        bounds = graph.ptr.tolist()
        numbers = graph.z.cpu().numpy()
        limits = [self.of_atoms(numbers[start:end]) for start, end in itertools.pairwise(bounds)]
        return torch.tensor(limits, dtype=torch.float64, device=graph.device)


def _limit(readout: Readout, unit: str) -> float | None:
    """Of one atom's share, in the unit of the target; ``None`` if nothing is known of its size."""
    scale = float(readout.constants.scale)
    referenced = bool(readout.constants.coefficients.any())
    if readout.extensive and dimension(unit) == dimension("eV"):
        return max(_FURTHEST * scale, (_BINDING if referenced else _ELECTRONS) / factor(unit, "eV"))
    return _FURTHEST * scale if referenced or scale != 1 else None


def _reason(name: str, unit: str, away: float) -> str:
    return (f"the model gives a {name} that is {away:.2g} {unit} per atom away from where its fit starts, and no "
            "structure has such a value: it knows nothing like this structure. Fix: choose a model that was trained "
            "on such structures (zoo list).")
