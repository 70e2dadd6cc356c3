"""A whole run: card → model, data and recipe, checked first; the loop; at the end a card with weights."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.card import Card
from zoo.data.of_card import check_elements, open_for_card
from zoo.data.store import Store
from zoo.errors import TrainingError
from zoo.loading import build, save
from zoo.model import Model
from zoo.training import machine
from zoo.training.distributed import Ranks, ranks
from zoo.training.loop import Outcome, Trainer
from zoo.training.recipe import Loss, Recipe, apply_overrides, read_recipe
from zoo.training.references import ABSURD, absurd_residuals, fit_readouts

__all__ = ["Run", "run"]

_FIT_MOLECULES = 128


@dataclass(frozen=True)
class Run:
    """What a finished run leaves."""

    folder: Path
    outcome: Outcome
    model: Model


def run(card: str | Path, *, out: Path, overrides: Sequence[str], data: str | Path | None, device: str | None,
        resume: bool, fast_dev_run: bool, force: bool, quiet: bool) -> Run:
    """See :func:`zoo.training.train`."""
    description = read_card(card, overrides)
    recipe = complete(read_recipe(description.recipe, targets=list(description.targets)), description.targets)
    _check_folder(out, resume=resume)
    settings = machine.prepare()
    torch.backends.cuda.matmul.allow_tf32 = recipe.tf32
    with ranks(device) as here:
        model = untrained(description, seed=recipe.seed, dtype=getattr(torch, recipe.precision))
        found = open_for_card(description, cutoff=float(model.backbone.cutoff), labels=recipe.losses, path=data)
        store, rows = found.store, found.rows
        check_elements(store, torch.cat([rows["train"], rows["val"]]), model.elements, found.name)
        store, model = store.to(here.device), model.to(here.device)
        if not resume:
            fit_constants(model, store, rows["train"], description, recipe, force=force)
        if here.first:
            out.mkdir(parents=True, exist_ok=True)
            description.save(out / "run.yaml")
        trainer = Trainer(model, store, rows, recipe, folder=out, ranks=here, machine=machine.describe(settings),
                          identity=_identity(description, store, rows), quiet=quiet, where=_resume_line(card, out))
        outcome = trainer.run(resume=resume, max_steps=2 if fast_dev_run else None)
        if outcome.reason in ("budget", "early stop"):
            trainer.load_best()
            if here.first:
                save(model, out, training=_training(outcome, trainer, here))
    return Run(out, outcome, model)


# -- from the card -------------------------------------------------------------------------------------------------


def read_card(card: str | Path, overrides: Sequence[str]) -> Card:
    """A card with overrides applied, checked; without what an earlier training has written into it."""
    path = Path(card)
    if not path.exists():
        raise TrainingError(f"there is no card {path}")
    found = Card.load(path)
    data = apply_overrides(found.to_dict(), overrides)
    for result in ("weights", "metrics", "training", "golden", "references"):
        data.pop(result, None)
    return Card.from_dict(data, source=str(path))


def complete(recipe: Recipe, targets: Mapping[str, Any]) -> Recipe:
    """The recipe with a loss for every target of the card: those not named get ``Loss()``."""
    losses = {name: recipe.losses.get(name, Loss()) for name in targets}
    losses |= {name: loss for name, loss in recipe.losses.items() if name not in losses}
    return recipe.model_copy(update={"losses": {n: loss for n, loss in losses.items() if loss.weight > 0}})


def untrained(card: Card, *, seed: int, dtype: torch.dtype) -> Model:
    """A model whose weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(card).to(dtype)


def fit_constants(model: Model, store: Store, train: Tensor, card: Card, recipe: Recipe, *, force: bool) -> None:
    """Fit references and scales of the readouts, and what the backbone wants to fit, on training data.

    Raises:
        TrainingError: references leave more than :data:`ABSURD` eV an atom, and ``force`` is not set.
    """
    names = [name for name in recipe.losses if name in model.readouts]
    given = {name for name in names if model.readouts[name].extensive and card.targets[name].reference == "none"}
    fit_readouts(model, store, train, names, without_basis=given)
    absurd = absurd_residuals(model, store, train, names)
    if absurd and not force:
        shown = ", ".join(f"{name} {value:.1f} eV/atom" for name, value in absurd.items())
        raise TrainingError(f"the references leave residuals beyond {ABSURD} eV per atom: {shown}. They belong to "
                            "other data or units; correct them, or say --force")
    if hasattr(model.backbone, "fit_constants"):
        some = train[:: max(1, len(train) // _FIT_MOLECULES)][:_FIT_MOLECULES]
        graph = store.graph(some, dtype=model.dtype)
        with torch.no_grad():
            model.backbone.fit_constants(model.with_vectors(graph))


def _identity(card: Card, store: Store, rows: Mapping[str, Tensor]) -> dict[str, Any]:
    ids = store.ids[rows["train"]].cpu()
    places = torch.arange(1, len(ids) + 1) % 1_000_003
    targets = {name: spec.model_dump() for name, spec in card.targets.items()}
    return {"architecture": card.architecture, "config": json.dumps(card.config, sort_keys=True),
            "targets": json.dumps(targets, sort_keys=True),
            "training set": f"{len(ids)} structures, checksum {int((ids * places).sum())}"}


def _check_folder(out: Path, *, resume: bool) -> None:
    used = (out / "checkpoints").is_dir() and any((out / "checkpoints").iterdir())
    if used and not resume:
        raise TrainingError(f"{out} holds the checkpoints of another run: go on with it by --resume, or name another "
                            "folder")


def _resume_line(card: str | Path, out: Path) -> str:
    return f"zoo train {card} --out {out} --resume"


def _training(outcome: Outcome, trainer: Trainer, here: Ranks) -> dict[str, Any]:
    """The section ``training`` of the card."""
    progress = outcome.progress
    best = {name: value for name, value in progress.best_metrics.items() if name != "step"}
    return {"device": _device_name(here), "hours": round(outcome.seconds / 3600, 4),
            "epochs_done": trainer.epochs_done, "steps_done": progress.step,
            "best_validation": best, "date": time.strftime("%Y-%m-%d"),
            "versions": {"zoo": version("geometric-zoo"), "torch": str(torch.__version__)}}


def _device_name(here: Ranks) -> str:
    if here.device.type == "cuda":
        return f"{here.world} × {torch.cuda.get_device_name(here.device)}"
    return f"CPU, {here.world * torch.get_num_threads()} threads"
