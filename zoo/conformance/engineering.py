"""Engineering: saving, gradients, fitting, resuming, compiling, exporting and distributed training."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.cards.card import Card
from zoo.conformance import specimens
from zoo.conformance.checks import Check, Finding, below, found, not_applicable
from zoo.conformance.recording import compiled, exported, with_energy
from zoo.conformance.subject import Subject
from zoo.data.edges import with_edges
from zoo.data.open import open_dataset
from zoo.data.splits import named_rows
from zoo.data.store import Store
from zoo.elements import SYMBOLS
from zoo.graph.graph import Graph
from zoo.loading.models import load, save
from zoo.model.model import Model

__all__ = ["CHECKS", "gradients_of_share"]

_MOLECULES = 8
_STEPS = 500
_RATE = 3e-3
_CLIP = 10.0


def round_trip(subject: Subject) -> Iterator[Finding]:
    for dtype in ("float32", "float64"):
        model = subject.untrained(dtype).eval()
        with tempfile.TemporaryDirectory() as folder:
            save(model, folder, name="round-trip", metrics=[], weights=None)
            again = load(folder, dtype=dtype)
        worse = [name for name, value in model.state_dict().items() if not torch.equal(value, again.state_dict()[name])]
        graph = subject.graph(specimens.mixed(model.elements))
        with torch.no_grad():
            same = torch.equal(model.features(graph), again.features(graph))
        detail = f"changed: {', '.join(worse)}" if worse else "" if same else "the same weights give other features"
        yield found(not worse and same, detail, dtype=dtype)


def plain_tensors(subject: Subject) -> Finding:
    state = subject.model.state_dict()
    owners: dict[int, str] = {}
    faults = []
    for name, value in state.items():
        if not value.is_contiguous():
            faults.append(f"{name} is not contiguous")
        if value.numel() and (other := owners.setdefault(value.untyped_storage().data_ptr(), name)) != name:
            faults.append(f"{name} shares memory with {other}")
    return found(not faults, "; ".join(faults) or f"{len(state)} tensors")


def same_seed(subject: Subject) -> Finding:
    first, second, other = (subject.untrained(seed=seed).state_dict() for seed in (3, 3, 4))
    differ = [name for name, value in first.items() if not torch.equal(value, second[name])]
    moved = any(not torch.equal(value, other[name]) for name, value in first.items())
    return found(not differ and moved, f"differ: {', '.join(differ)}" if differ else
                 "" if moved else "another seed gives the same weights")


def gradients(subject: Subject) -> Finding:
    """Gradients of all targets, and of forces if there is an energy."""
    model = subject.untrained("float64").train()
    derivatives = ["forces"] if model.energy_target is not None else []
    out = model(subject.graph(specimens.mixed(model.elements)), derivatives)
    torch.stack([value.square().sum() for value in out.values()]).sum().backward()
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    broken = [n for n, p in model.named_parameters() if p.grad is not None and not bool(p.grad.isfinite().all())]
    parts = [f"{text}: {', '.join(names)}" for text, names in (("without", idle), ("not finite", broken)) if names]
    return found(not parts, "; ".join(parts) or f"{sum(1 for _ in model.parameters())} parameters")


def overfit(subject: Subject) -> Finding:
    """Fits U0 of eight molecules, without the mean contribution of each element, by Adam on the squared error."""
    store = open_dataset("qm9-sample")
    if (reason := _unlike(store, subject)) is not None:
        return not_applicable(reason)
    model = with_energy(subject)
    graph, wanted = _eight(store, model)
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS, eta_min=_RATE * 1e-2)
    best, step, name = float("inf"), 0, model.energy_target
    graph = model.with_vectors(graph)
    for step in range(_STEPS + 1):
        error = model(graph, standardised=True)[name] - wanted
        best = min(best, float(error.detach().square().mean().sqrt()))
        if best < 0.01 or step == _STEPS:
            break
        optimizer.zero_grad()
        error.square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimizer.step()
        schedule.step()
    return below(best, 0.01, f"of the standard deviation after {step} steps", dtype="float32")


def _unlike(store: Store, subject: Subject) -> str | None:
    """Why a model of this design cannot be trained on the sample; ``None`` if it can."""
    if subject.card.inputs:
        return f"the sample has no {', '.join(subject.card.inputs)}, which the model reads"
    if not set(store.elements) <= set(subject.model.elements):
        return f"the sample has {', '.join(SYMBOLS[z] for z in store.elements)}, not all of them in the domain"
    return None


def _eight(store: Store, model: Model) -> tuple[Graph, Tensor]:
    rows = named_rows(store, "train")
    counts, labels = store.composition()[rows].double(), store.labels_of(rows, ["U0"])["U0"].double()
    residual = labels - counts @ torch.linalg.lstsq(counts, labels[:, None]).solution[:, 0]
    # Evenly spread over the training molecules, which are sorted, to include small and large ones.
    chosen = torch.linspace(0, len(rows) - 1, _MOLECULES).long()
    values = residual[chosen]
    graph = with_edges(store, model.cutoff).graph(rows[chosen], dtype=torch.float32)
    return graph, ((values - values.mean()) / values.std()).to(model.dtype)


def resume(subject: Subject) -> Finding:
    """Four steps in one run, and in two runs of two steps each, give bitwise identical weights."""
    from zoo.training import train

    if (reason := _unlike(open_dataset("qm9-sample"), subject)) is not None:
        return not_applicable(reason)
    card = _tiny_run(subject)
    with tempfile.TemporaryDirectory() as folder:
        whole, broken = Path(folder, "whole"), Path(folder, "broken")
        for out, steps, again in ((whole, 4, False), (broken, 2, False), (broken, 4, True)):
            train(card, out=out, overrides=[f"recipe.budget.steps={steps}"], device="cpu", quiet=True, measure=False,
                  force=True, resume=again)
        states = [_last_weights(out) for out in (whole, broken)]
    differ = [name for name, value in states[0].items() if not torch.equal(value, states[1][name])]
    return found(not differ, f"differ: {', '.join(differ)}" if differ else "4 steps = 2 steps + 2 steps")


def _tiny_run(subject: Subject) -> Card:
    targets = {"U0": {"readout": "energy", "unit": "eV", "reference": "fitted"}}
    recipe = {"losses": {"U0": {}}, "budget": {"steps": 4}, "batch": {"molecules": 4}, "eval_every": 2,
              "eval_molecules": 4, "schedule": {"kind": "constant"}, "seed": 0}
    domain = {"elements": list(subject.card.domain.elements), "pbc": False}
    return Card.from_dict({"schema": 1, "name": "resume-check", "architecture": subject.architecture.name,
                           "format": subject.architecture.format, "config": subject.card.config, "targets": targets,
                           "domain": domain, "data": {"dataset": "qm9-sample"}, "recipe": recipe})


def _last_weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(sorted((folder / "checkpoints").glob("step-*"))[-1] / "model.safetensors")


def two_ranks(subject: Subject) -> Finding:
    """Two gloo processes with half of the molecules each give the same gradients as one process with all."""
    alone = gradients_of_share(subject, with_energy(subject, "float64"), slice(None))
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2",
                       "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        name = subject.name if subject.trained is None else str(subject.trained.folder)
        processes = [subprocess.Popen([sys.executable, "-m", "zoo.conformance.two_ranks", name, folder],
                                      env={**environment, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
                     for rank in range(2)]
        messages = [process.communicate(timeout=300)[1] for process in processes]
        if any(process.returncode for process in processes):
            return found(False, messages[0].strip().splitlines()[-1] if messages[0].strip() else "a rank ended early")
        from safetensors.torch import load_file

        shared = load_file(Path(folder, "gradients.safetensors"))
    size = max(float(value.abs().max()) for value in alone.values())
    error = max(float((alone[name] - shared[name]).abs().max()) for name in alone)
    return below(error / max(size, 1e-12), 1e-9, "gradients of energies and forces")


def gradients_of_share(subject: Subject, model: torch.nn.Module, share: slice) -> dict[str, Tensor]:
    """Gradients of Σ E² + Σ F² over a share of four molecules; with DDP, their mean over the ranks."""
    inner: Any = getattr(model, "module", model)
    frames = [a for a in specimens.mixed(inner.elements) if len(a) > 1][share]
    out = model(subject.graph(frames), ["forces"])
    torch.stack([value.square().sum() for value in out.values()]).sum().backward()
    return {name: p.grad.clone() for name, p in inner.named_parameters() if p.grad is not None}


CHECKS = (
    Check("engineering.round-trip", "weights that are saved and loaded again are equal and give the same features",
          round_trip),
    Check("engineering.tensors", "saved tensors are contiguous and share no memory", plain_tensors),
    Check("engineering.seed", "the same seed gives the same weights", same_seed),
    Check("engineering.gradients", "every parameter gets a gradient", gradients),
    Check("engineering.overfit", "eight molecules are fitted to 1 % of their standard deviation in 500 steps", overfit,
          of_design=True),
    Check("engineering.resume", "an interrupted and resumed run ends with the same weights", resume, of_design=True),
    Check("engineering.compile", "torch.compile gives the same numbers", compiled, of_design=True),
    Check("engineering.export", "torch.export gives the same energies and forces", exported, of_design=True),
    Check("engineering.ranks", "two processes give the same gradients as one", two_ranks, of_design=True),
)
