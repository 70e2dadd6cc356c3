"""Evaluates a model on a split: from the data to predictions, metrics and entries for the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from zoo.cards.card import DERIVATIVES
from zoo.cards.measured import Uncertainty
from zoo.data.batches import plan
from zoo.data.of_card import CardData, check_elements, open_for_card
from zoo.errors import EvaluationError
from zoo.evaluation.alignment import aligned
from zoo.evaluation.breakdown import Groups, breakdown, by_kind, calibration, columns
from zoo.evaluation.metrics import TargetResult, summarise
from zoo.loading.models import load
from zoo.model.feature_hook import FeatureHook
from zoo.process.memory import halved_on_out_of_memory
from zoo.uncertainty import ErrorModel, Estimate, describe, find

if TYPE_CHECKING:
    from zoo.data.store import Store
    from zoo.graph.graph import Graph
    from zoo.model.model import Model

__all__ = ["Evaluation", "evaluate", "predict_rows"]

_DEFAULT_BATCH = {"atoms": 2500, "edges": 50_000}

SplitName = Literal["train", "val", "test", "all"]


@dataclass(frozen=True)
class Evaluation:
    """The result of :func:`evaluate`.

    Attributes:
        model: name of the model.
        split: name of the split.
        n: number of structures.
        metrics: entries in the form of a card.
        results: for each target, the predictions and labels.
        breakdown: MAE per target (in the unit of its metrics) by number of atoms, by number of heavy atoms, and by
            element that a structure has: ``{"U0": {"size": {"10-14": {"mae": …, "n": …}}, "heavy_atoms": {"9": …},
            "element": {"F": …}}}``.
        calibration: coverage and width of the intervals in the form of a card; ``None`` without error estimates.
        kinds: errors, coverage and flags by kind of structure in the form of a card, if the data set names kinds.
        detection: for each kind of structure the log odds that the model's detector gives; empty without a detector.
        flagged_kinds: the kinds among them that the detector is to flag.
        energy_shifts: what was added to the energy of each element's atoms, in the target's unit; empty if energies
            were not aligned.
    """

    model: str
    split: str
    n: int
    metrics: list[dict[str, Any]]
    results: dict[str, TargetResult]
    breakdown: dict[str, Groups] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    kinds: dict[str, Any] | None = None
    detection: dict[str, np.ndarray] = field(default_factory=dict)
    flagged_kinds: Sequence[str] = ()
    energy_shifts: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data without the predictions."""
        data = {"model": self.model, "split": self.split, "n": self.n, "metrics": self.metrics,
                "breakdown": self.breakdown}
        return data | {key: value for key in ("calibration", "kinds") if (value := getattr(self, key)) is not None} \
            | ({"energy_shifts": dict(self.energy_shifts)} if self.energy_shifts else {})

    def card_breakdown(self) -> list[dict[str, Any]]:
        """The breakdown by heavy atoms, by element and by kind in the form of a card."""
        return columns(self.breakdown, self.split) + ([] if self.kinds is None else [self.kinds])

    def value(self, target: str, metric: str = "mae") -> float:
        """One metric, in the unit given in :attr:`metrics`.

        Raises:
            EvaluationError: this metric was not measured.
        """
        for entry in self.metrics:
            if (entry["target"], entry["metric"]) == (target, metric):
                return entry["value"]
        raise EvaluationError(f"no {metric} of '{target}' was measured. Fix: choose one of {', '.join(self.results)}")


def evaluate(
    model: str | Path | Model,
    *,
    split: SplitName | None = None,
    data: str | Path | None = None,
    targets: Sequence[str] | None = None,
    derivatives: Sequence[str] | None = None,
    device: str | None = None,
    dtype: str | None = None,
    batch: Mapping[str, int] | None = None,
    limit: int | None = None,
    allow_overlap: bool = False,
    align_energies: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a model on a split of its data, or on other data.

    Args:
        model: a name, a card folder, or a loaded model with a card.
        split: ``test``, ``val``, ``train`` or ``all``; by default ``test`` for the card's own data and ``all`` for
            other data.
        data: path of the card's data set, or another file or store.
        targets: targets to measure; by default all that have labels in the data.
        derivatives: ``forces``, ``stress``; by default those of the card that have labels in the data.
        batch: limits ``molecules``, ``atoms``, ``edges`` of one forward pass; halved when memory runs out.
        limit: use at most this many structures, evenly spread over the split.
        allow_overlap: allow training structures; the name of the split in the result then says so.
        align_energies: fit one energy per element to the labels first, for labels of another zero of energy; the
            split's name then says so, see :func:`zoo.evaluation.alignment.aligned`.
        progress: called with (done, total).

    Raises:
        EvaluationError: the structures are training structures, or none has a label.
        DataError: the data cannot be opened.
    """
    if limit is not None and limit < 1:
        raise EvaluationError(f"limit is {limit}: no structure would be left. Fix: give 1 or more, or leave limit out")
    model = model if isinstance(model, torch.nn.Module) else load(model, device=device, dtype=dtype)
    card = model.required_card
    found = open_for_card(card, cutoff=model.cutoff, labels=[*card.targets, *DERIVATIVES], path=data,
                          lenient=True)
    names = _names(model, found, targets, derivatives)
    rows, marked = _rows(found, split, limit=limit, allow_overlap=allow_overlap)
    check_elements(found.store, rows, model.elements, found.name)
    limits = batch or _limits(card.recipe)
    error_model = find(model) if isinstance(card.uncertainty, Uncertainty) else None
    estimates: list[Estimate] = []
    results = predict_rows(model, found.store, rows, names, limits=limits, progress=progress, error_model=error_model,
                           estimates=estimates)
    shifts: dict[str, float] = {}
    if align_energies:
        marked += ", energies aligned"
        name, results[name], shifts = _aligned(model, results)
    flagged = [bool(reasons) for estimate in estimates for reasons in estimate.out_of_distribution]
    metrics = summarise(results, split=marked, device=_device(model))
    parts = {name: breakdown(result, found.store, rows) for name, result in results.items()}
    held = None if error_model is None else calibration(results, flagged, marked)
    return Evaluation(card.name, marked, len(rows), metrics, results, parts, held,
                      by_kind(results, flagged, found.store, rows, marked), _detection(estimates, found.store, rows),
                      error_model.facts.kinds if error_model is not None else (), shifts)


def _aligned(model: Model, results: Mapping[str, TargetResult]) -> tuple[str, TargetResult, dict[str, float]]:
    """The energy, its result on the labels' zero, and the shift of each element."""
    name = model.energy_target
    if name is None or name not in results or results[name].composition is None:
        raise EvaluationError("there is no energy among the labels. Fix: leave out --align-energies")
    return name, *aligned(results[name], model.elements)


def _detection(estimates: Sequence[Estimate], store: Store, rows: Tensor) -> dict[str, np.ndarray]:
    log_odds = [estimate.log_odds for estimate in estimates if estimate.log_odds is not None]
    kinds = store.meta.get("kinds")
    if not log_odds or kinds is None:
        return {}
    of, given = store.labels[kinds["label"]][rows].long().cpu().numpy(), np.concatenate(log_odds)
    return {kinds["names"][kind]: given[of == kind] for kind in np.unique(of).tolist()}


# -- predictions ---------------------------------------------------------------------------------------------------


def predict_rows(model: Model, store: Store, rows: Tensor, names: Sequence[str], *, limits: Mapping[str, int | None],
                 progress: Callable[[int, int], None] | None = None, error_model: ErrorModel | None = None,
                 estimates: list[Estimate] | None = None) -> dict[str, TargetResult]:
    """Predictions and labels for rows of a store, in physical units and float64; batches are halved if memory runs out.

    Args:
        error_model: estimates the ``width`` of the results.
        estimates: receives what the error model says of each batch.
    """
    derivatives = tuple(name for name in names if name in DERIVATIVES)
    sizes = {"atoms": store.n_atoms.cpu().numpy(), "edges": store.n_edges.cpu().numpy()}
    was_training = model.training
    model.eval()
    order: list[np.ndarray] = []
    outputs: dict[str, list[np.ndarray]] = {name: [] for name in names}
    baselines: dict[str, list[np.ndarray]] = {name: [] for name in names}
    widths: dict[str, list[np.ndarray]] = {name: [] for name in names}
    compositions: list[np.ndarray] = []

    def forward(part: np.ndarray) -> tuple[Graph, dict[str, Tensor], Estimate | None]:
        with torch.no_grad():
            graph = store.graph(torch.from_numpy(part), dtype=model.dtype).to(model.device)
            with FeatureHook(model) as hook:
                batch = model(graph, derivatives, partial_stress=True)
            return graph, batch, None if error_model is None else error_model(describe(model, graph, hook.features))

    batches = plan(rows.numpy(), sizes, limits)
    for part, (graph, batch, estimate) in chain.from_iterable(halved_on_out_of_memory(forward, b) for b in batches):
        order.append(part)
        compositions.append(model.composition(graph).cpu().numpy())
        for name in names:
            outputs[name].append(batch[name].double().cpu().numpy())
            baselines[name].append(_baseline(model, name, batch[name], graph))
            if estimate is not None and name in estimate.widths:
                widths[name].append(estimate.widths[name])
        if estimate is not None and estimates is not None:
            estimates.append(estimate)
        if progress is not None:
            progress(sum(map(len, order)), len(rows))
    model.train(was_training)
    done = torch.from_numpy(np.concatenate(order))
    labels = store.labels_of(done, names)
    total = model.energy_target if derivatives else None
    return {name: _result(name, store, np.concatenate(outputs[name]), labels[name].cpu().numpy(),
                          np.concatenate(baselines[name]), np.concatenate(compositions), widths[name],
                          total=name == total, energy=name == model.energy_target)
            for name in names}


def _baseline(model: Model, name: str, predicted: Tensor, graph: Graph) -> np.ndarray:
    if name in DERIVATIVES or not model.readouts[name].extensive:
        return np.zeros(tuple(predicted.shape))
    value = model.readouts[name].physical(torch.zeros_like(predicted), graph, model.composition(graph))
    return value.double().cpu().numpy()


def _result(name: str, store: Store, predicted: np.ndarray, label: np.ndarray, baseline: np.ndarray,
            composition: np.ndarray, widths: list[np.ndarray], *, total: bool, energy: bool) -> TargetResult:
    atoms = composition.sum(1).astype(int)
    structure = np.repeat(np.arange(len(atoms)), atoms) if name in store.per_atom else np.arange(len(label))
    known = np.isfinite(label).reshape(len(label), -1).all(1)
    if not np.isfinite(predicted[known]).all():
        raise EvaluationError(f"the model predicts values of '{name}' that are not finite. Fix: run zoo check on "
                              "the model, and look for coinciding atoms in the structures")
    shape = label[known].shape
    return TargetResult(store.units[name], predicted[known].reshape(shape), label[known], structure[known],
                        baseline[known].reshape(shape), np.concatenate(widths)[known] if widths else None,
                        atoms[known] if total else None, composition[known] if energy else None)


# -- targets and rows ----------------------------------------------------------------------------------------------


def _names(model: Model, found: CardData, targets: Sequence[str] | None,
           derivatives: Sequence[str] | None) -> list[str]:
    labels, card = found.store.labels, model.required_card
    names = list(targets) if targets else [name for name in model.readouts if name in labels]
    unknown = [name for name in names if name not in model.readouts]
    if unknown:
        raise EvaluationError(f"{card.name} does not predict {', '.join(unknown)}. Fix: choose from its targets "
                              f"{', '.join(model.readouts)}")
    wanted = card.derivatives if derivatives is None else derivatives
    names += [name for name in wanted if name in labels]
    if not names:
        raise EvaluationError(f"{found.name} has labels {', '.join(labels) or 'of no kind'}, and {card.name} "
                              f"predicts {', '.join(model.readouts)}. Fix: map the labels to targets under data.keys")
    for name in names:
        if name not in DERIVATIVES:
            _check_type(model, found.store, name)
    return names


def _check_type(model: Model, store: Store, name: str) -> None:
    """Refuse labels of another kind than the target's."""
    kind, label = model.output_types[name], store.labels[name]
    held = ("atom" if name in store.per_atom else "structure", tuple(label.shape[1:]))
    if held != (kind.per, kind.shape):
        raise EvaluationError(f"the label '{name}' has the shape {held[1]} per {held[0]}, and the model predicts "
                              f"{kind.shape} per {kind.per}. Fix: map '{name}' to another key under data.keys, or name "
                              "the targets to measure: evaluate(…, targets=[…])")


def _rows(found: CardData, split: str | None, *, limit: int | None, allow_overlap: bool) -> tuple[Tensor, str]:
    """Rows to measure, and the name of the split for the metrics."""
    split = split or ("test" if found.own else "all")
    rows = torch.arange(len(found.store)) if split == "all" else found.rows.get(split)
    if rows is None:
        raise EvaluationError(f"there is no split '{split}'. Fix: choose train, val, test or all")
    if not len(rows):
        raise EvaluationError(f"{found.name} has no structures of the split '{split}'; it has {len(found.store)} in "
                              "total. Fix: choose another split, such as --split all")
    seen = int(torch.isin(rows, found.rows["train"]).sum())
    if seen and not allow_overlap:
        raise EvaluationError(f"{seen} of the {len(rows)} structures were trained on, and errors on them say nothing "
                              "about others. Fix: use --split test, or --allow-overlap, which marks the result")
    if limit is not None and limit < len(rows):
        rows = rows[torch.linspace(0, len(rows) - 1, limit).long()]
    if not found.own:
        return rows, f"{found.name} (overlap with the training data unknown)"
    return rows, f"{split} ({seen} trained on)" if seen else split


def _limits(recipe: Mapping[str, Any]) -> dict[str, int | None]:
    """Twice the limits of a training batch, or limits that fit into a laptop's memory."""
    batch = recipe.get("batch") or {}
    limits = {key: 2 * value for key, value in batch.items() if key in ("molecules", "atoms", "edges") and value}
    return limits or dict(_DEFAULT_BATCH)


def _device(model: Model) -> str:
    if model.device.type == "cuda":
        return torch.cuda.get_device_name(model.device)
    return f"CPU, {torch.get_num_threads()} thread(s), {str(model.dtype).removeprefix('torch.')}"
