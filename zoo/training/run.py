"""A training run: check card, data and recipe; run the loop; write a card with weights and metrics."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.cards.card import Card
from zoo.data.identity import SPLIT_FILE, write_split
from zoo.data.of_card import CardData, check_elements, open_for_card
from zoo.data.store import Store
from zoo.elements import numbers
from zoo.errors import TrainingError, ZooError
from zoo.files.locks import locked
from zoo.loading.models import save
from zoo.loading.resolution import resolve
from zoo.model.model import Model
from zoo.process import machine
from zoo.process.repeatable import repeatable
from zoo.training.curve import write_curve
from zoo.training.data_checks import check_apart, check_elements_of_splits, check_labels, suspicious_labels
from zoo.training.distributed import Ranks, ranks
from zoo.training.dry_run import dry_run
from zoo.training.loop import Outcome, Trainer
from zoo.training.parts import versions
from zoo.training.prefetcher import fits
from zoo.training.prepare import begun, complete, copy_weights, fit_constants, read_card, untrained
from zoo.training.recipe import Recipe, read_recipe

__all__ = ["Options", "Run", "run"]

log = logging.getLogger(__name__)

_CHUNK = 8192


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a run that the card does not hold; see :func:`zoo.training.train`.

    ``found``: data to use instead of those of the card, with edges at the model's cut-off.
    ``pictures``: draw them at the end, if ``measure``.
    """

    overrides: Sequence[str] = ()
    data: str | Path | None = None
    found: CardData | None = None
    device: str | None = None
    resume: bool = False
    fast_dev_run: bool = False
    force: bool = False
    quiet: bool = False
    measure: bool = True
    pictures: bool = True
    command: str | None = None


@dataclass(frozen=True)
class Run:
    """Result of a run: ``outcome`` is ``None`` after a dry run."""

    folder: Path
    outcome: Outcome | None
    card: Card


def run(card: str | Path | Card, out: Path, options: Options) -> Run:
    """See :func:`zoo.training.train`."""
    first = os.environ.get("RANK", "0") == "0"
    with locked(out.resolve(), seconds=0, error=TrainingError) if first and not options.fast_dev_run else nullcontext():
        return _run(card, out, options)


def _run(card: str | Path | Card, out: Path, options: Options) -> Run:
    resume = _check_folder(out, options)
    description = begun(read_card(card, list(options.overrides)), out if resume else None)
    recipe = complete(read_recipe(description.recipe, targets=list(description.targets), document=description.document),
                      description.targets)
    settings = machine.prepare()
    torch.backends.cuda.matmul.allow_tf32 = recipe.tf32
    with repeatable(recipe.deterministic), ranks(options.device) as here:
        model = untrained(description, seed=recipe.seed, dtype=getattr(torch, recipe.precision))
        found = _open(description, recipe, model, options, here)
        if not resume:
            _check_data(found, model, recipe, options, here)
        # Data that do not fit on the device stay mapped from disk, and a thread gathers the next rows.
        store = found.store.to(here.device) if fits(found.store, here.device) else found.store
        model = model.to(here.device)
        spread: dict[str, float] = {}
        if not resume:
            started = copy_weights(model, recipe.warm_start) if recipe.warm_start else {"copied": [], "new": []}
            _print_start(started, recipe, here, options)
            spread = fit_constants(model, store, found.rows["train"], recipe, copied=started["copied"],
                                   force=options.force)
        if recipe.compile:
            model.backbone.compile(dynamic=True)
        with _folder(out, options) as folder:
            trainer = Trainer(model, store, found.rows, recipe, folder=folder, ranks=here, quiet=options.quiet,
                              machine={**machine.describe(settings), "ranks": here.world, "device": here.device.type},
                              identity=_identity(description, found, recipe),
                              where=options.command or f"zoo train {card} --out {out} --resume")
            if options.fast_dev_run:
                _print_dry_run(trainer, spread, here)
                return Run(out, None, description)
            if here.first:
                description.save(out / "run.yaml")
            outcome = trainer.run(resume=resume)
    if outcome.reason in ("budget", "early stop") and here.first:
        trainer.load_best()
        description = _finish(out, model, found, trainer, here, options)
    return Run(out, outcome, description)


# -- before --------------------------------------------------------------------------------------------------------


def _check_folder(out: Path, options: Options) -> bool:
    """Whether there is something to resume.

    Raises:
        TrainingError: the folder holds another run.
    """
    used = (out / "checkpoints").is_dir() and any((out / "checkpoints").glob("step-*"))
    if used and not (options.resume or options.fast_dev_run):
        raise TrainingError(f"{out} holds the checkpoints of another run. Fix: go on with it by --resume, or name "
                            "another folder")
    return used and options.resume and not options.fast_dev_run


def _open(card: Card, recipe: Recipe, model: Model, options: Options, here: Ranks) -> CardData:
    # The first rank converts the data; the others read the result.
    for turn in range(2):
        if options.found is not None:
            found = options.found
        elif here.first == (turn == 0):
            found = open_for_card(card, cutoff=model.cutoff, labels=recipe.losses, path=options.data)
        here.wait()
    for part, what in (("train", "train on"), ("val", "choose the best weights by")):
        if not len(found.rows[part]):
            raise TrainingError(f"{found.name} holds no structure of the split '{part}' of this card: there is nothing "
                                f"to {what}. Fix: choose other counts in data.split, or larger data")
    used = torch.cat([found.rows["train"], found.rows["val"]])
    check_elements(found.store, used, model.elements, found.name)
    check_apart(found.store, found.rows, str(found.split_file or found.name))
    check_labels(model, found.store, found.rows, recipe.losses)
    return found


def _check_data(found: CardData, model: Model, recipe: Recipe, options: Options, here: Ranks) -> None:
    """Errors and warnings about data that a run begins with; after a resume they would be repeated.

    Raises:
        TrainingError: see :func:`zoo.training.data_checks.check_elements_of_splits`.
    """
    learnt: list[int] = []
    if recipe.warm_start:
        origin = resolve(recipe.warm_start).card
        if set(model.readouts) <= set(origin.targets):  # a new target knows the elements of the new data only
            learnt = numbers(origin.domain.elements)
    check_elements_of_splits(found.store, found.rows, model.elements, learnt=learnt, force=options.force)
    if here.first:
        for text in suspicious_labels(model, found.store, found.rows, recipe.losses):
            log.warning("warning: %s", text)


def _print_start(started: Mapping[str, Sequence[str]], recipe: Recipe, here: Ranks, options: Options) -> None:
    if recipe.warm_start and here.first and not options.quiet:
        print(f"weights from {recipe.warm_start}: backbone, readouts {', '.join(started['copied']) or 'none'}; new "
              f"readouts: {', '.join(started['new']) or 'none'}")


class _folder:
    """The folder of the run; for a dry run, a temporary one."""

    def __init__(self, out: Path, options: Options) -> None:
        self.out, self.throw_away = out, options.fast_dev_run

    def __enter__(self) -> Path:
        if self.throw_away:
            self._temporary = tempfile.TemporaryDirectory(prefix="zoo-dev-run-")
            return Path(self._temporary.name)
        self.out.mkdir(parents=True, exist_ok=True)
        return self.out

    def __exit__(self, *exception: object) -> None:
        if self.throw_away:
            self._temporary.cleanup()


def _print_dry_run(trainer: Trainer, spread: Mapping[str, float], here: Ranks) -> None:
    report = dry_run(trainer, spread)
    if here.first:
        print("\n".join(report.lines))


def _identity(card: Card, found: CardData, recipe: Recipe) -> dict[str, Any]:
    store, rows = found.store, found.rows
    ids = store.ids[rows["train"]].cpu()
    places = torch.arange(1, len(ids) + 1) % 1_000_003
    targets = {name: spec.model_dump() for name, spec in card.targets.items()}
    return {"architecture": card.architecture, "config": json.dumps(card.config, sort_keys=True),
            "targets": json.dumps(targets, sort_keys=True),
            "training set": f"{len(ids)} structures, checksum {int((ids * places).sum())}",
            "content of the data": _content(store, torch.cat([rows["train"], rows["val"]]).cpu(), recipe.losses)}


def _content(store: Store, rows: Tensor, labels: Iterable[str]) -> str:
    """A hash of structures and labels."""
    digest, names = hashlib.sha256(), sorted(labels)
    bare = replace(store, edges=None)
    for part in rows.split(_CHUNK):
        graph, values = bare.graph(part, dtype=torch.float64), store.labels_of(part, names)
        columns = [graph.z, graph.pos, graph.ptr, graph.cell, graph.pbc, graph.charge, graph.spin, graph.node_attrs,
                   graph.node_vectors, *(values[name] for name in names)]
        for column in columns:
            digest.update(b"-" if column is None else column.contiguous().cpu().numpy().tobytes())
    return f"sha256 {digest.hexdigest()[:16]}"


# -- after ---------------------------------------------------------------------------------------------------------


def _finish(out: Path, model: Model, found: CardData, trainer: Trainer, here: Ranks, options: Options) -> Card:
    """Write card and weights, the pictures, and the metrics of the test split."""
    changes: dict[str, Any] = {"training": _training(trainer, here, model.required_card.training.earlier_hours)}
    given, data = found.split_file, model.required_card.data
    if given is not None and data.split is not None:
        # Kept as it is: the domain may include structures that are not in this training file.
        shutil.copyfile(given, out / given.name)
    elif found.store.meta.get("split") is None:
        path = write_split(out, found.store, found.rows)
        counts = {name: len(rows) for name, rows in found.rows.items()}
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        split = {"file": SPLIT_FILE, "sha256": digest, **counts}
        changes["data"] = data.model_dump(exclude_unset=True) | {"split": split}
    model.card = save(model, out, **changes)
    write_curve(out)
    if options.measure:
        _measure(out, model, found, trainer, pictures=options.pictures)
    return model.required_card


def _measure(out: Path, model: Model, found: CardData, trainer: Trainer, *, pictures: bool) -> None:
    """Write metrics of the test split (the validation split, if there is none) into the card, and draw pictures."""
    from zoo.evaluation.evaluation import predict_rows
    from zoo.evaluation.metrics import summarise
    from zoo.evaluation.pictures import draw_parity
    from zoo.training.curve import draw_curves

    split = "test" if len(found.rows["test"]) else "val"
    names = list(trainer.recipe.losses)
    results = predict_rows(model, trainer.store, found.rows[split], names, limits=trainer.recipe.batch.doubled())
    metrics = summarise(results, split=split, device=_device_name(trainer.ranks))
    card = model.card = model.required_card.replace(metrics=metrics)
    card.save(out)
    if not pictures:
        return
    try:
        draw_curves(out, out / "curves.png")
        draw_parity(results, out / "parity.png", title=f"{card.name}, {split}")
    except ZooError as error:
        trainer.message(f"no curves: {error}")


def _training(trainer: Trainer, here: Ranks, earlier_hours: float | None) -> dict[str, Any]:
    """The section ``training`` of the card."""
    progress, seconds = trainer.progress, trainer.clock.seconds
    rate = trainer.epochs_done * len(trainer.train_rows) / max(seconds, 1e-9)
    section = {"device": _device_name(here), "hours": round(seconds / 3600, 4), "epochs_done": trainer.epochs_done,
               "steps_done": progress.step,
               "molecules_per_second": float(f"{rate:.3g}"),
               "best_validation": {name: float(f"{value:.5g}") for name, value in progress.best_metrics.items()},
               "date": time.strftime("%Y-%m-%d"),
               "versions": {"geometric-zoo": version("geometric-zoo"), "torch": str(torch.__version__)}}
    if used := versions(trainer.recipe):
        section["parts"] = used
    from zoo.evaluation.metrics import commit

    if earlier_hours:
        section["earlier_hours"] = earlier_hours
    return section | ({"commit": commit()} if commit() else {})


def _device_name(here: Ranks) -> str:
    if here.device.type == "cuda":
        return f"{here.world} × {torch.cuda.get_device_name(here.device)}"
    return f"CPU, {here.world * torch.get_num_threads()} thread(s)"
