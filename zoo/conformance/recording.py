"""Checks that ``torch.compile`` and ``torch.export`` give the same results as the model."""

from __future__ import annotations

import logging
from typing import Any

import torch

from zoo.conformance import specimens
from zoo.conformance.checks import Finding, below, not_applicable
from zoo.conformance.subject import Subject, seeded
from zoo.exporting.parity import example, measure
from zoo.exporting.record import record
from zoo.exporting.signature import arguments
from zoo.lab.probes import probe
from zoo.loading.building import build
from zoo.model.model import Model
from zoo.model.readout_kinds import READOUTS

__all__ = ["compiled", "exported", "with_energy"]

_LAYERS = 2


def compiled(subject: Subject) -> Finding:
    """Features after torch.compile's graph capture and AOTAutograd; without code generation, which is slow."""
    model = with_energy(subject, "float64", layers=_LAYERS).eval()
    graph = model.with_vectors(subject.graph(specimens.mixed(model.elements)))
    torch._dynamo.reset()
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
    faster = torch.compile(model.backbone, backend="aot_eager", dynamic=True)
    with torch.no_grad():
        h, same = model.backbone(graph), faster(graph)
    return below(float((h - same).abs().max()) / max(1e-3, float(h.abs().max())), 1e-9, "features, backend aot_eager")


def exported(subject: Subject) -> Finding:
    """Energy and forces of structures of other sizes than the recorded one, including a crystal."""
    declared = subject.architecture.signature.get("export")
    if declared is not True:
        return not_applicable(f"the signature declares export {declared!r}, not True")
    model = with_energy(subject, "float64", layers=_LAYERS).eval().requires_grad_(False)
    run = record(model, arguments(example(model)), stress=False).module()
    found = measure(model, run, stress=False)
    worst = max(found, key=lambda parity: parity.forces / max(1.0, parity.largest_force))
    return below(worst.forces / max(1.0, worst.largest_force), 1e-9,
                 f"forces; worst of {len(found)} structures: {worst.case}, {worst.atoms} atoms")


def with_energy(subject: Subject, dtype: str = "float32", *, layers: int | None = None) -> Model:
    """A new model, in training mode, whose only target is an energy.

    Args:
        layers: use at most this many layers if the backbone has a keyword for their number, since recording more layers
            takes minutes and tests nothing else.
    """
    model = subject.untrained(dtype)
    with seeded(0):
        if layers is not None:
            card = model.required_card
            model = build(card.replace(config=_shallow(subject, card.config, layers))).to(model.dtype)
        readout = READOUTS["energy"](model.layout, model.elements, **subject.architecture.readout)
    new = Model(model.backbone, {"energy": readout}, units={"energy": "eV"}, elements=model.elements, card=model.card)
    return new.to(model.dtype).train()


def _shallow(subject: Subject, config: dict[str, Any], layers: int) -> dict[str, Any]:
    depth = probe(subject.architecture.name).depth
    number = None if depth is None else subject.keywords().get(depth)
    if depth is None or not isinstance(number, int):
        return config
    return {**config, depth: min(layers, number)}
