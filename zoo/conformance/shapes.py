"""Shapes: features have the declared shape and dtype for every batch, and a call has no side effects."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Iterator
from typing import Any

import ase
import numpy as np
import torch
from torch import Tensor

from zoo.conformance import specimens
from zoo.conformance.checks import Check, Finding, below, found, not_applicable
from zoo.conformance.subject import Subject
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges

__all__ = ["CHECKS"]


def _shape(subject: Subject, graph: Graph) -> Finding:
    model = subject.model
    with torch.no_grad():
        h = model.features(graph)
        outputs = model(graph)
    wanted = (graph.num_nodes, model.layout.dim)
    finite = bool(h.isfinite().all()) and all(bool(v.isfinite().all()) for v in outputs.values())
    # The model itself refuses outputs of another shape than their readout declares.
    detail = f"features {tuple(h.shape)}" + ("" if finite else ", not finite")
    same = tuple(h.shape) == wanted
    return found(same and finite, detail + ("" if same else f", expected {wanted}"))


def one_atom(subject: Subject) -> Finding:
    return _shape(subject, subject.graph(specimens.single_atom(subject.model.elements)))


def one_structure(subject: Subject) -> Finding:
    return _shape(subject, subject.graph(specimens.molecule(subject.model.elements)))


def mixed_batch(subject: Subject) -> Finding:
    return _shape(subject, subject.graph(specimens.mixed(subject.model.elements)))


def no_edges(subject: Subject) -> Finding:
    return _shape(subject, subject.graph([specimens.single_atom(subject.model.elements) for _ in range(3)]))


def dtype_follows(subject: Subject) -> Iterator[Finding]:
    graph = subject.graph(specimens.molecule(subject.model.elements))
    for dtype in (torch.float32, torch.float64):
        model = copy.deepcopy(subject.model).to(dtype)
        with torch.no_grad():
            h = model.features(graph)
        yield found(h.dtype is dtype, f"features in {_short(h.dtype)}", dtype=_short(dtype))


def device_follows(subject: Subject) -> Finding:
    if not torch.cuda.is_available():
        return not_applicable("this machine has no CUDA device")
    graph = subject.graph(specimens.mixed(subject.model.elements))
    with torch.no_grad():
        here = subject.model.features(graph)
        there = copy.deepcopy(subject.model).to("cuda").features(graph.to("cuda"))
    error = float((there.cpu() - here).abs().max()) / max(1e-3, float(here.abs().max()))
    return below(error if there.is_cuda else float("inf"), 1e-9, f"features on {there.device}")


def inputs_unchanged(subject: Subject) -> Finding:
    """Neither the graph given to the model nor the one with edge vectors for the backbone is changed."""
    model = subject.energy_model
    given = add_edges(subject.graph(specimens.mixed(model.elements)), model.cutoff)
    before = _tensors(given)
    model(given, ["forces"])
    changed = _differences(before, _tensors(given))
    seen = model.with_vectors(given)
    before = _tensors(seen)
    with torch.no_grad():
        model.backbone(seen)
    changed |= _differences(before, _tensors(seen))
    return found(not changed, f"changed: {', '.join(sorted(changed))}" if changed else "")


def globals_unchanged(subject: Subject) -> Finding:
    graph = subject.graph(specimens.molecule(subject.model.elements))
    before = _globals()
    subject.untrained()
    changed = {f"{name} by building" for name in _changed(before, _globals())}
    before = _globals()
    subject.energy_model(graph, ["forces"])
    changed |= {f"{name} by a forward pass" for name in _changed(before, _globals())}
    return found(not changed, ", ".join(sorted(changed)))


def no_memory(subject: Subject) -> Finding:
    """An earlier call on a batch of the same sizes does not change the result."""
    first = specimens.molecule(subject.model.elements)
    second = first.copy()
    second.positions[0] += [0.11, -0.07, 0.13]
    used = subject.anew()
    with torch.no_grad():
        used.features(subject.graph(first))
        after = used.features(subject.graph(second))
        fresh = subject.anew().features(subject.graph(second))
        again = used.features(subject.graph(second))
    error = max(float((after - fresh).abs().max()), float((after - again).abs().max()))
    return below(error / max(1e-3, float(fresh.abs().max())), 1e-12)


def geometry_matters(subject: Subject) -> Finding:
    atoms = specimens.molecule(subject.model.elements)
    moved: ase.Atoms = atoms.copy()
    moved.positions[0] += [0.1, 0.05, 0.0]
    with torch.no_grad():
        h, other = (subject.model.features(subject.graph(a)) for a in (atoms, moved))
    change = float((h - other).abs().max()) / max(1e-12, float(h.abs().max()))
    return Finding(ok=change > 1e-6, measured=change, detail="relative change; must exceed 1e-06")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _tensors(graph: Graph) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in vars(graph).items() if isinstance(value, Tensor)}


def _differences(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def _globals() -> dict[str, Any]:
    return {
        "default dtype": torch.get_default_dtype(), "grad mode": torch.is_grad_enabled(),
        "TF32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
        "random state of torch": torch.get_rng_state().tolist(), "random state of Python": random.getstate(),
        "random state of numpy": np.random.get_state(legacy=False)["state"]["key"].tolist(),
        "warnings filters": list(warnings.filters),
        "threads": torch.get_num_threads(), "deterministic mode": torch.are_deterministic_algorithms_enabled(),
    }


def _changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name, value in before.items() if value != after[name]}


CHECKS = (
    Check("shapes.one-atom", "a single atom gives one row of features", one_atom),
    Check("shapes.one-structure", "a molecule gives one row of features per atom", one_structure),
    Check("shapes.mixed-batch", "a batch of structures of different sizes, including a single atom", mixed_batch),
    Check("shapes.no-edges", "a batch without edges", no_edges),
    Check("shapes.dtype", "features have the model's dtype", dtype_follows),
    Check("shapes.device", "features are on the model's device, and equal to those on the CPU", device_follows),
    Check("shapes.inputs", "inputs are not changed", inputs_unchanged),
    Check("shapes.globals", "global state is not changed", globals_unchanged),
    Check("shapes.memory", "a call does not depend on earlier calls", no_memory),
    Check("shapes.geometry", "features depend on the positions", geometry_matters),
)
