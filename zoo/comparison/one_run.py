"""One run of a comparison: one model, one training-set size and one seed, trained by the usual training loop."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from zoo.cards.card import Card
from zoo.comparison.dataset import SharedDataset
from zoo.comparison.entries import ComparisonEntry
from zoo.comparison.result import RunResult
from zoo.comparison.setup import Setup, recipe_of
from zoo.errors import EvaluationError
from zoo.loading.models import create
from zoo.registry import host
from zoo.training.recipe import apply_overrides
from zoo.training.run import Options, run

__all__ = ["PlannedRun", "folder_of", "perform_run", "read_run"]

_OF_ONE_TRAINING = ("name", "summary", "weights", "metrics", "breakdown", "training", "golden", "references",
                    "derivatives", "notes", "limits", "uncertainty", "stability")
"""Keys of a card that describe one training, and that a new training does not take over."""


@dataclass(frozen=True)
class PlannedRun:
    """What to train.

    Attributes:
        size: number of training molecules.
    """

    entry: ComparisonEntry
    size: int
    seed: int


def perform_run(planned: PlannedRun, setup: Setup, shared: SharedDataset, out: Path,
                device: str | None) -> RunResult | None:
    """Train and test one model, or read the result if the run is finished; ``None`` after an interruption.

    Any exception becomes a result with its error; the traceback is written to ``error.txt`` in the run's folder. The
    random state of torch is restored.
    """
    with torch.random.fork_rng(devices=[]):
        return _perform(planned, setup, shared, out, device)


def _perform(planned: PlannedRun, setup: Setup, shared: SharedDataset, out: Path,
             device: str | None) -> RunResult | None:
    folder = None
    try:
        if planned.entry.error is not None:
            raise RuntimeError(planned.entry.error)
        card = _card(planned, setup, shared)
        folder = folder_of(card, shared, out / "cells", planned)
        if (found := read_run(folder, planned, card, reused=True)) is not None:
            return found
        data = shared.of_size(planned.size, _cutoff(card))
        outcome = run(card, folder, Options(found=data, device=device, resume=True, quiet=True, pictures=False)).outcome
        if outcome is not None and outcome.reason == "signal":
            return None
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        if (made := read_run(folder, planned, card, reused=False)) is None:
            raise EvaluationError(f"no test molecule has the label {', '.join(setup.labels)}, so nothing was measured. "
                                  "Fix: choose other --targets, or other data")
        return made
    except Exception as error:
        # An error in one plugin's network must not end the comparison of the others.
        if folder is not None and planned.entry.error is None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        known = planned.entry.error is not None or type(error).__module__.startswith("zoo.")
        words = str(error) if known else f"{type(error).__name__}: {error}"
        return RunResult(model=planned.entry.name, size=planned.size, seed=planned.seed, error=words)


# -- before --------------------------------------------------------------------------------------------------------


def _card(planned: PlannedRun, setup: Setup, shared: SharedDataset) -> Card:
    """The card to train: the network of the entry; targets, data and budget of the setup."""
    entry = planned.entry
    targets = {name: spec.model_dump(exclude_unset=True) for name, spec in setup.targets.items()}
    if entry.card is None:
        made = create(entry.architecture, targets=targets, elements=shared.elements, pbc=shared.periodic,
                      inputs=entry.inputs, preset=entry.preset)
        assert made.card is not None  # what `create` makes has one
        data = made.card.to_dict()
    else:
        data = entry.card.to_dict()
        for name, spec in targets.items():
            if name in entry.card.targets:
                own = entry.card.targets[name].model_dump(exclude_unset=True)
                targets[name] = own | {key: spec[key] for key in ("unit", "reference")}
    data = {key: value for key, value in data.items() if key not in _OF_ONE_TRAINING}
    name = re.sub(r"[^a-z0-9._-]+", "-", entry.name.lower())
    data |= {"name": f"{name}-n{planned.size}-seed{planned.seed}", "targets": targets, "data": dict(setup.data),
             "recipe": recipe_of(entry, setup, seed=planned.seed), "derivatives": list(setup.derivatives)}
    return Card.from_dict(apply_overrides(data, [o for o in setup.overrides
                                                 if o.startswith(("targets.", "config."))]))


def _cutoff(card: Card) -> float:
    return float(host.backbone(card.architecture, card.config).cutoff)


def folder_of(card: Card, shared: SharedDataset, parent: Path, planned: PlannedRun) -> Path:
    """Folder of a run, named after the card and a hash of everything that determines the result."""
    data = card.to_dict()
    determines = {"card": {key: value for key, value in data.items() if key not in ("name", "data", "requires")},
                  "size": planned.size, "data": shared.digest(planned.size), "code": _code(card.architecture)}
    digest = hashlib.sha256(json.dumps(determines, sort_keys=True, default=str).encode()).hexdigest()
    return parent / f"{card.name}-{digest[:10]}"


def _code(architecture: str) -> str:
    """A hash of the source files of a backbone, so that a run is repeated after they changed."""
    module = host.factory(architecture).__module__
    found = hashlib.sha256(f"{version('geometric-zoo')} {module}".encode())
    file = getattr(sys.modules[module], "__file__", None)
    if file is not None:
        for path in sorted(Path(file).parent.rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


# -- after ---------------------------------------------------------------------------------------------------------


def read_run(folder: Path, planned: PlannedRun, card: Card, *, reused: bool) -> RunResult | None:
    """The result of a finished run from its folder; ``None`` if the run is not finished."""
    if not (folder / "card.yaml").is_file():
        return None
    done = Card.load(folder)
    if not done.metrics or done.weights is None:
        return None
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    end = next(line for line in reversed(lines) if line["event"] == "end")
    metrics = [metric.model_dump(exclude_unset=True) for metric in done.metrics]
    return RunResult(model=planned.entry.name, size=planned.size, seed=planned.seed, folder=folder.name, reused=reused,
                     cutoff=_cutoff(card), parameters=done.weights.parameters, steps=done.training.steps_done or 0,
                     epochs=done.training.epochs_done or 0.0, seconds=end["seconds"], processor=_processor(lines)[-1],
                     device=done.training.device or "", metrics=tuple(metrics),
                     history=tuple(_history(lines, metrics)))


def _history(lines: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Validation MAE of every target, in the unit of its test MAE, with the steps and the seconds."""
    # Energy metrics are in meV, while the training log has eV.
    factors = {m["target"]: 1000.0 if m["unit"].startswith("meV") else 1.0 for m in metrics if m["metric"] == "mae"}
    return [{"step": line["step"], "seconds": line["seconds"], "processor": used}
            | {name: factor * line[f"{name}.mae"] for name, factor in factors.items() if f"{name}.mae" in line}
            for line, used in zip(lines, _processor(lines)) if line["event"] == "evaluate"]


def _processor(lines: Sequence[Mapping[str, Any]]) -> list[float]:
    """Processor time in s up to each line; a resumed run is a new process, whose clock starts at another value."""
    used, before, until = 0.0, 0.0, []
    for line in lines:
        if line["event"] != "start":
            used += line["processor"] - before
        before = line["processor"]
        until.append(round(used, 3))
    return until
