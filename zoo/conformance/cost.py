"""Cost: measured without a bound; ratios to SchNet on the same machine are comparable between machines."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache, partial

import ase
import torch

from zoo.conformance import specimens
from zoo.conformance.checks import Check, Finding, not_applicable
from zoo.conformance.subject import ELEMENTS, Subject, seeded
from zoo.graph.graph import Graph
from zoo.loading.models import create
from zoo.model.model import Model
from zoo.registry import host

__all__ = ["CHECKS"]

_COPIES = 8
_BASELINE = "schnet"
_REPEATS = 5


def parameters(subject: Subject) -> Finding:
    return Finding(ok=True, measured=float(subject.model.num_parameters))


def energy_speed(subject: Subject) -> Finding:
    return _speed(subject, ())


def force_speed(subject: Subject) -> Finding:
    return _speed(subject, ("forces",))


def memory(subject: Subject) -> Finding:
    """Memory that autograd keeps of one forward pass, for the structures of the speed checks."""
    model = subject.energy_model
    kept: dict[int, int] = {}

    def note(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return value

    graph = _workload(subject)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda value: value):
        model(graph, standardised=True)
    return Finding(ok=True, measured=sum(kept.values()) / graph.num_nodes / 1024, dtype="float64",
                   detail="KiB an atom kept for the backward pass")


def scaling(subject: Subject) -> Finding:
    """Exponent p of time ~ N^p between crystals of 8 and 64 atoms."""
    model = subject.energy_model
    cell = specimens.crystal(model.elements)
    small, large = (model.with_vectors(subject.graph(cell.repeat(n))) for n in ((2, 2, 1), (4, 4, 2)))
    with torch.no_grad():
        # Processor time, which other processes on the machine do not change.
        times = [_seconds(partial(model.backbone, graph), time.process_time) for graph in (small, large)]
    exponent = math.log(times[1] / times[0]) / math.log(large.num_nodes / small.num_nodes)
    return Finding(ok=True, measured=exponent, detail=f"p of time ~ N^p, {small.num_nodes} to {large.num_nodes} atoms")


def _speed(subject: Subject, derivatives: tuple[str, ...]) -> Finding:
    graph = _workload(subject)
    work = _forward(subject.energy_model, graph, derivatives)
    rate = graph.num_graphs / _seconds(work)
    if _BASELINE not in host.architectures():
        return not_applicable(f"{rate:.3g} molecules/s; {_BASELINE} is not installed for comparison", measured=rate)
    # Processor time, as for the exponent.
    ratio = _baseline_seconds(derivatives) / _seconds(work, time.process_time)
    return Finding(ok=True, measured=rate, dtype="float64", detail=f"molecules/s; {ratio:.2f} × {_BASELINE}")


def _workload(subject: Subject) -> Graph:
    return subject.graph([specimens.molecule(subject.model.elements)] * _COPIES)


@cache
def _baseline_seconds(derivatives: tuple[str, ...]) -> float:
    with seeded(0):
        model = create(_BASELINE, preset="small", elements=ELEMENTS, dtype="float64").eval()
    atoms: list[ase.Atoms] = [specimens.molecule(model.elements)] * _COPIES
    graph = Graph.from_atoms(atoms, dtype=torch.float64)
    return _seconds(_forward(model, graph, derivatives), time.process_time)


def _forward(model: Model, graph: Graph, derivatives: tuple[str, ...]) -> Callable[[], None]:
    def once() -> None:
        with torch.no_grad():
            model(graph, derivatives)

    return once


def _seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """The fastest of several repetitions, after a warm-up."""
    work()
    times = []
    for _ in range(_REPEATS):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


CHECKS = (
    Check("cost.parameters", "number of parameters", parameters),
    Check("cost.energy", "energies per second", energy_speed),
    Check("cost.forces", "energies and forces per second", force_speed),
    Check("cost.memory", "memory of a training step", memory),
    Check("cost.scaling", "growth of time with the number of atoms", scaling),
)
