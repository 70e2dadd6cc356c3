"""Fits an error model to a trained model, and writes it next to the weights and into the card."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.cards.card import Card
from zoo.data.batches import plan
from zoo.data.of_card import CardData, check_elements, open_for_card
from zoo.elements import SYMBOLS
from zoo.errors import CalibrationError, did_you_mean
from zoo.files.hashing import sha256_of
from zoo.model.feature_hook import FeatureHook
from zoo.uncertainty.descriptors import Description, describe
from zoo.uncertainty.detector import detector_inputs, fit_detector
from zoo.uncertainty.error_model import FILE, WITH_DETECTOR, ErrorModel, Facts, atom_distance, inputs, pooled_distance
from zoo.uncertainty.fit import Geometry, Sample, fit, whitening

if TYPE_CHECKING:
    from zoo.data.store import Store
    from zoo.model.model import Model

__all__ = ["calibrate"]

LEVEL = 0.9
_ENOUGH = 30
_COUNTS = 200
"""Validation structures of a kind of which it counts among the others."""
_BATCH = {"molecules": 128, "atoms": 2500, "edges": 60_000}

Progress = Callable[[int, int], None]


def calibrate(model: Model, *, data: str | Path | None = None, sample: int = 10_000, level: float = LEVEL,
              flag: Sequence[str] = (), seed: int = 0, progress: Progress | None = None) -> ErrorModel:
    """Fit an error model to a trained model on its training and validation split; the test split is not used.

    Args:
        data: path of the card's data set.
        flag: kinds of structures of the data set that are to be flagged: the intervals are fitted without them, and a
            detector learns to tell them from the others.
        sample: use at most this many structures of each of the two splits.
        level: share of errors that the intervals should cover.
        progress: called with (done, total).

    Raises:
        CalibrationError: the data are not the card's own, have no scalar target, too few validation structures, or no
            structures of a kind in ``flag``.
    """
    card = model.card
    if card is None or card.weights is None:
        raise CalibrationError("error estimates need a trained model with a card. Fix: save it first with zoo.save")
    targets = [name for name, kind in model.output_types.items() if kind.is_scalar]
    if not targets:
        raise CalibrationError(f"no target of {card.name} is one number per structure, and there are error estimates "
                               f"of such targets only; it predicts {', '.join(model.output_types)}. Fix: give the model"
                               " such a target, or use zoo evaluate for the errors of the others")
    found = open_for_card(card, cutoff=model.cutoff, labels=targets, path=data, lenient=True)
    targets = [name for name in targets if name in found.store.labels and name not in found.store.per_atom]
    if not targets:
        raise CalibrationError(f"{found.name} has no labels of a scalar target of {card.name}. Fix: give other --data")
    kinds = _kinds(found.store, flag)
    other = torch.zeros(len(found.store), dtype=torch.bool)
    for kind in kinds.values():
        other |= kind
    own = {split: _own(found, split, card, other) for split in ("train", "val")}
    own["val"] = _evenly(found.store, own["val"], seed)
    rows = {split: _some(part, sample, seed) for split, part in own.items()}
    flagged = {name: _some(_own(found, "train", card, ~kind), sample, seed) for name, kind in kinds.items()}
    for part in (*rows.values(), *flagged.values()):
        check_elements(found.store, part, model.elements, found.name)
    total = sum(len(part) for part in (*rows.values(), *flagged.values()))
    train, geometry, seen = _training(model, found.store, rows["train"], targets, bool(flagged),
                                      _counter(progress, 0, total))
    val, distance, seen_val = _validation(model, found.store, rows["val"], targets, bool(flagged), geometry,
                                          _counter(progress, len(rows["train"]), total))
    facts = Facts(weights=card.weights.sha256, targets=targets, elements=list(model.elements), level=level,
                  finite=not card.domain.pbc, train=len(rows["train"]), val=len(rows["val"]),
                  **_extent(found.store, _own(found, "train", card, other), model.elements))
    error_model = fit(train, val, geometry, distance, facts, seed=seed)
    if seen is None or seen_val is None:
        return error_model
    done, others = len(rows["train"]) + len(rows["val"]), {}
    for name, part in flagged.items():
        others[name] = torch.cat([detector_inputs(description) for description, _ in
                                  _passes(model, found.store, part, targets, _counter(progress, done, total))])
        done += len(part)
    return replace(error_model, detector=fit_detector(seen, seen_val, others, seed=seed),
                   facts=replace(facts, format=WITH_DETECTOR, kinds=list(others)))


def write(error_model: ErrorModel, card: Card) -> Card:
    """Write the file next to the card and a new section into the card, which drops measurements of an older one."""
    folder = card.folder
    assert folder is not None, "checked by the caller"
    fresh, path = card.reread(), folder / FILE
    error_model.save(path)
    facts = error_model.facts
    section = {"file": FILE, "sha256": sha256_of(path), "bytes": path.stat().st_size, "weights": facts.weights,
               "level": facts.level, "train": facts.train, "val": facts.val, "date": time.strftime("%Y-%m-%d")}
    fresh = fresh.replace(uncertainty=section)
    fresh.save(folder)
    return fresh


# -- passes over the data ------------------------------------------------------------------------------------------


@dataclass
class _Sums:
    """Sums for the whitening matrices."""

    pooled: Tensor
    atoms: Tensor
    mean: Tensor
    structures: int = 0
    count: int = 0

    def add(self, description: Description) -> None:
        pooled, atoms = description.pooled.double(), description.atoms.double()
        self.pooled += pooled.T @ pooled
        self.atoms += atoms.T @ atoms
        self.mean += atoms.sum(0)
        self.structures += len(pooled)
        self.count += len(atoms)

    def geometry(self) -> Geometry:
        mean = self.mean / self.count
        centred = self.atoms - self.count * mean[:, None] * mean
        return Geometry(whitening(self.pooled, self.structures), mean.float(), whitening(centred, self.count))


def _training(model: Model, store: Store, rows: Tensor, targets: list[str], detecting: bool, progress: Progress | None
              ) -> tuple[Sample, Geometry, Tensor | None]:
    """Descriptors and residuals, the metric of distances, and if ``detecting`` the inputs of a detector."""
    width = model.layout.count(0, 1)
    pooled, atoms, mean = (torch.zeros(shape, dtype=torch.float64)
                           for shape in ((width + 1,) * 2, (width,) * 2, (width,)))
    sums = _Sums(pooled, atoms, mean)
    heads, residuals, seen = [], [], []
    for description, residual in _passes(model, store, rows, targets, progress):
        sums.add(description)
        if detecting:
            seen.append(detector_inputs(description))
        heads.append(description.heads)
        residuals.append(residual)
    return Sample(torch.cat(heads), torch.cat(residuals)), sums.geometry(), torch.cat(seen) if seen else None


def _validation(model: Model, store: Store, rows: Tensor, targets: list[str], detecting: bool, geometry: Geometry,
                progress: Progress | None) -> tuple[Sample, Tensor, Tensor | None]:
    """Descriptors and residuals, distances, and if ``detecting`` the inputs of a detector."""
    heads, residuals, given, distances, seen = [], [], [], [], []
    for description, residual in _passes(model, store, rows, targets, progress):
        distance = torch.stack([pooled_distance(description, geometry.whiten),
                                atom_distance(description, geometry.atom_mean, geometry.atom_whiten)], 1)
        given.append(inputs(description, distance, description.heads[:, :0]))
        heads.append(description.heads)
        residuals.append(residual)
        distances.append(distance)
        if detecting:
            seen.append(detector_inputs(description))
    sample = Sample(torch.cat(heads), torch.cat(residuals), torch.cat(given))
    return sample, torch.cat(distances), torch.cat(seen) if seen else None


def _passes(model: Model, store: Store, rows: Tensor, targets: list[str], progress: Progress | None
            ) -> Iterator[tuple[Description, Tensor]]:
    """Descriptors and residuals (b, T) float64, batch by batch."""
    sizes = {"atoms": store.n_atoms.cpu().numpy(), "edges": store.n_edges.cpu().numpy()}
    done = 0
    for part in plan(rows.numpy(), sizes, _BATCH):
        graph = store.graph(torch.from_numpy(part), dtype=model.dtype).to(model.device)
        with torch.no_grad(), FeatureHook(model) as hook:
            values = model(graph)
        labels = store.labels_of(torch.from_numpy(part), targets)
        residual = torch.stack([labels[name].cpu() - values[name].cpu() for name in targets], 1)
        yield describe(model, graph, hook.features), residual
        done += len(part)
        if progress is not None:
            progress(done, len(rows))


# -- which structures ----------------------------------------------------------------------------------------------


def _evenly(store: Store, rows: Tensor, seed: int) -> Tensor:
    """As many of each kind of structures as of the rarest, where a data set names kinds: intervals have to hold for
    each, and not for the most frequent alone. Kinds of which there are too few to count are kept as they are."""
    known = store.meta.get("kinds")
    if known is None:
        return rows
    of = store.labels[known["label"]].cpu()[rows]
    parts = [rows[of == kind] for kind in of.unique()]
    fewest = min((len(part) for part in parts if len(part) >= _COUNTS), default=len(rows))
    return torch.cat([_some(part, fewest, seed) for part in parts]).sort().values


def _kinds(store: Store, names: Sequence[str]) -> dict[str, Tensor]:
    """(M,) bool for each kind: which structures are of it."""
    if not names:
        return {}
    known = store.meta.get("kinds") or {"names": []}
    for name in names:
        if name not in known["names"]:
            raise CalibrationError(f"the data set has no kind of structures '{name}'"
                                   f"{did_you_mean(name, known['names'])} Fix: choose among "
                                   f"{', '.join(known['names']) or 'none: it does not name kinds'}")
    of = store.labels[known["label"]].cpu()
    return {name: of == known["names"].index(name) for name in names}


def _own(found: CardData, split: str, card: Card, without: Tensor) -> Tensor:
    """Rows of a split but those ``without`` (M,)."""
    rows = found.rows[split]
    rows = rows[~without[rows]]
    if not found.own or len(rows) < _ENOUGH:
        raise CalibrationError(f"{found.name} has {len(rows)} structures of the split '{split}' of {card.name}, and "
                               f"calibration needs at least {_ENOUGH}. Fix: give the data it was trained on by --data")
    return rows


def _some(rows: Tensor, sample: int, seed: int) -> Tensor:
    if len(rows) <= sample:
        return rows
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return rows[order[:sample]].sort().values


def _extent(store: Store, rows: Tensor, elements: tuple[int, ...]) -> dict[str, Any]:
    """``most``, ``fewest`` and ``radicals`` of :class:`~zoo.uncertainty.error_model.Facts`; every structure is taken
    for neutral."""
    part = store.subset(rows)
    counts = part.composition(list(elements))
    heavy = counts[:, [z > 1 for z in elements]].sum(1)
    electrons = (counts * torch.tensor(elements, dtype=counts.dtype)).sum(1)
    most = {"heavy atoms": int(heavy.max()), "atoms": int(part.n_atoms.max())}
    return {"most": most | {SYMBOLS[z]: int(n) for z, n in zip(elements, counts.amax(0).tolist())},
            "fewest": {"heavy atoms": int(heavy.min()), "atoms": int(part.n_atoms.min())},
            "radicals": bool((electrons % 2 != 0).any())}


def _counter(progress: Progress | None, before: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, part: progress(before + done, total)
