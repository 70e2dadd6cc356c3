"""A model as a potential: positions in, energies, forces and stress out, in eV and Å."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.graph.graph import Graph
from zoo.graph.verlet import VerletList
from zoo.model.model import Model
from zoo.units import factor

__all__ = ["Potential", "PotentialResult", "frozen"]


@dataclass(frozen=True)
class PotentialResult:
    """Energies (B,) eV, forces (N, 3) eV/Å and, where asked for, stress (B, 3, 3) eV/Å³ and energies of atoms (N,) eV;
    float64.
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor | None = None
    atomic: Tensor | None = None


class Potential:
    """Energies and forces of a model for a sequence of batches; neighbours come from a Verlet list.

    Args:
        model: has an energy target.
        skin: Å, see :class:`zoo.graph.verlet.VerletList`.
        compile: compute with a library that torch's compiler makes of the model, see
            :func:`zoo.exporting.compiled.compiled`. Stress of several structures at a time comes from the model itself.

    Raises:
        ZooError: the model has no energy.
        ExportError: ``compile``, and the model cannot be compiled.
    """

    def __init__(self, model: Model, *, skin: float = 0.5, compile: bool = False) -> None:
        if model.energy_target is None:
            raise ZooError(f"a simulation needs an energy, and the targets are {', '.join(model.readouts)}. "
                           "Fix: choose a model with an energy target.")
        self.model = model
        cutoff = model.cutoff
        self.list = VerletList(cutoff, skin)
        self._energy = model.energy_target
        self._to_ev = factor(model.units[self._energy], "eV")
        self._parameters = list(model.parameters())  # collected once: it takes 0.07 ms, and a step about 5 ms
        self._compiled = None
        if compile:
            from zoo.exporting.compiled import compiled

            self._compiled = compiled(model)

    def __call__(self, graph: Graph, *, stress: bool = False, atomic: bool = False) -> PotentialResult:
        """Evaluate a batch whose positions (N, 3) are float64, on the model's device; edges it has are kept."""
        with torch.inference_mode(False):
            return self._evaluate(graph, stress, atomic)

    def _evaluate(self, graph: Graph, stress: bool, atomic: bool) -> PotentialResult:
        graph = graph.usable()
        graph = graph if graph.edge_index is not None else self.list.edges(graph)
        if self._compiled is not None and self._compiled.can(graph, stress=stress):
            return PotentialResult(*self._compiled(graph, stress=stress))
        with frozen(self.model, self._parameters), torch.no_grad():
            out = self.model(graph, ("forces", "stress") if stress else ("forces",))
            each = self.model.atomic_energies(graph) * self._to_ev if atomic else None
        return PotentialResult(out[self._energy] * self._to_ev, out["forces"].double(),
                          out["stress"].double() if stress else None, each)

    def energy(self, graph: Graph) -> Tensor:
        """(B,) eV of a batch, without derivatives; always from the model itself."""
        with torch.inference_mode(False), frozen(self.model, self._parameters), torch.no_grad():
            graph = graph.usable()
            edges = graph if graph.edge_index is not None else self.list.edges(graph)
            return self.model(edges)[self._energy] * self._to_ev


@dataclass
class _Frozen:
    """What :func:`frozen` has to restore, and how many threads are inside."""

    learned: list[nn.Parameter]
    modes: list[nn.Module]
    inside: int = 0


_FROZEN: WeakKeyDictionary[Model, _Frozen] = WeakKeyDictionary()
_LOCK = Lock()


@contextmanager
def frozen(model: Model, parameters: Sequence[nn.Parameter] | None = None) -> Iterator[None]:
    """Context in which weights require no gradients and the model is in eval mode.

    The previous state is restored when the last of several threads leaves, so that it can be used during training.
    ``parameters`` are those of the model, if the caller has them already.
    """
    with _LOCK:
        state = _FROZEN.get(model)
        if state is None:
            learned = [p for p in (model.parameters() if parameters is None else parameters) if p.requires_grad]
            state = _FROZEN[model] = _Frozen(learned, [m for m in model.modules() if m.training] if model.training
                                             else [])
            _switch(state, False)
        state.inside += 1
    try:
        yield
    finally:
        with _LOCK:
            state.inside -= 1
            if not state.inside:
                del _FROZEN[model]
                _switch(state, True)


def _switch(state: _Frozen, on: bool) -> None:
    for parameter in state.learned:
        parameter.requires_grad_(on)
    for module in state.modes:
        module.training = on
