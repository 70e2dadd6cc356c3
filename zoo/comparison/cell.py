"""One cell of the comparison: one contestant, one training-set size, one seed, trained by the one training loop."""

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
from zoo.comparison.contestants import Contestant
from zoo.comparison.ground import Ground
from zoo.comparison.question import Question, recipe_of
from zoo.comparison.result import Cell
from zoo.errors import EvaluationError
from zoo.loading.models import create
from zoo.registry import host
from zoo.training.recipe import apply_overrides
from zoo.training.run import Options, run

__all__ = ["Task", "folder_of", "perform", "read_cell"]

_TOLD = ("name", "summary", "weights", "metrics", "training", "golden", "references", "derivatives", "notes", "limits",
         "uncertainty", "stability")
"""What in a card belongs to one training, or tells of it."""


@dataclass(frozen=True)
class Task:
    """A cell to be trained."""

    contestant: Contestant
    size: int
    seed: int


def perform(task: Task, question: Question, ground: Ground, out: Path, device: str | None) -> Cell | None:
    """Train and measure one cell, or read it where it is finished; ``None`` after an interruption.

    A model that fails, in whatever way, is a cell with its error; the traceback is kept beside it. Torch's random
    numbers are afterwards where they were.
    """
    with torch.random.fork_rng(devices=[]):
        return _perform(task, question, ground, out, device)


def _perform(task: Task, question: Question, ground: Ground, out: Path, device: str | None) -> Cell | None:
    folder = None
    try:
        if task.contestant.error is not None:
            raise RuntimeError(task.contestant.error)
        card = _card(task, question, ground)
        folder = folder_of(card, ground, out / "cells", task)
        if (found := read_cell(folder, task, card, reused=True)) is not None:
            return found
        data = ground.of_size(task.size, _cutoff(card))
        outcome = run(card, folder, Options(found=data, device=device, resume=True, quiet=True, pictures=False)).outcome
        if outcome is not None and outcome.reason == "signal":
            return None
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        if (made := read_cell(folder, task, card, reused=False)) is None:
            raise EvaluationError(f"nothing was measured: no test molecule has a label {', '.join(question.labels)}")
        return made
    except Exception as error:
        # Whatever a stranger's network does, the others are still compared.
        if folder is not None and task.contestant.error is None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        known = task.contestant.error is not None or type(error).__module__.startswith("zoo.")
        words = str(error) if known else f"{type(error).__name__}: {error}"
        return Cell(model=task.contestant.name, size=task.size, seed=task.seed, error=words)


# -- before --------------------------------------------------------------------------------------------------------


def _card(task: Task, question: Question, ground: Ground) -> Card:
    """The card that is trained: the contestant's network, the question's targets, data and budget."""
    contestant = task.contestant
    targets = {name: spec.model_dump(exclude_unset=True) for name, spec in question.targets.items()}
    if contestant.card is None:
        made = create(contestant.architecture, targets=targets, elements=ground.elements, pbc=ground.periodic,
                      inputs=contestant.inputs, preset=contestant.preset)
        assert made.card is not None  # what `create` makes has one
        data = made.card.to_dict()
    else:
        data = contestant.card.to_dict()
        for name, spec in targets.items():
            if name in contestant.card.targets:
                own = contestant.card.targets[name].model_dump(exclude_unset=True)
                targets[name] = own | {key: spec[key] for key in ("unit", "reference")}
    data = {key: value for key, value in data.items() if key not in _TOLD}
    name = re.sub(r"[^a-z0-9._-]+", "-", contestant.name.lower())
    data |= {"name": f"{name}-n{task.size}-seed{task.seed}", "targets": targets, "data": dict(question.data),
             "recipe": recipe_of(contestant, question, seed=task.seed), "derivatives": list(question.derivatives)}
    return Card.from_dict(apply_overrides(data, [o for o in question.overrides
                                                 if o.startswith(("targets.", "config."))]))


def _cutoff(card: Card) -> float:
    return float(host.backbone(card.architecture, card.config).cutoff)


def folder_of(card: Card, ground: Ground, cells: Path, task: Task) -> Path:
    """Where a cell is trained: its name, and a hash of everything that decides its result."""
    data = card.to_dict()
    decides = {"card": {key: value for key, value in data.items() if key not in ("name", "data", "requires")},
               "size": task.size, "data": ground.digest(task.size), "code": _code(card.architecture)}
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()
    return cells / f"{card.name}-{digest[:10]}"


def _code(architecture: str) -> str:
    """A hash of the files that make a backbone: an author who changed one does not want the old result."""
    module = host.factory(architecture).__module__
    found = hashlib.sha256(f"{version('geometric-zoo')} {module}".encode())
    file = getattr(sys.modules[module], "__file__", None)
    if file is not None:
        for path in sorted(Path(file).parent.rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()


# -- after ---------------------------------------------------------------------------------------------------------


def read_cell(folder: Path, task: Task, card: Card, *, reused: bool) -> Cell | None:
    """What a finished training left in its folder; ``None`` while it is not finished."""
    if not (folder / "card.yaml").is_file():
        return None
    done = Card.load(folder)
    if not done.metrics or done.weights is None:
        return None
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    end = next(line for line in reversed(lines) if line["event"] == "end")
    metrics = [metric.model_dump(exclude_unset=True) for metric in done.metrics]
    return Cell(model=task.contestant.name, size=task.size, seed=task.seed, folder=folder.name, reused=reused,
                cutoff=_cutoff(card), parameters=done.weights.parameters, steps=done.training.steps_done or 0,
                epochs=done.training.epochs_done or 0.0, seconds=end["seconds"],
                processor=_processor(lines)[-1], device=done.training.device or "",
                metrics=tuple(metrics), history=tuple(_history(lines, metrics)))


def _history(lines: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Validation MAE of every target, in the unit of its test MAE, over steps and seconds."""
    # Metrics of energies are in thousandths of the unit that training logs.
    factors = {m["target"]: 1000.0 if m["unit"].startswith("meV") else 1.0 for m in metrics if m["metric"] == "mae"}
    return [{"step": line["step"], "seconds": line["seconds"], "processor": spent}
            | {name: factor * line[f"{name}.mae"] for name, factor in factors.items() if f"{name}.mae" in line}
            for line, spent in zip(lines, _processor(lines)) if line["event"] == "evaluate"]


def _processor(lines: Sequence[Mapping[str, Any]]) -> list[float]:
    """Processor time spent until each line, s; a resumed training is another process with another origin."""
    spent, before, until = 0.0, 0.0, []
    for line in lines:
        if line["event"] != "start":
            spent += line["processor"] - before
        before = line["processor"]
        until.append(round(spent, 3))
    return until
