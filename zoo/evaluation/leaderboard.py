"""All models beside each other, one board for every set of test structures; made from the cards, without torch."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zoo.cards.card import DERIVATIVES, Calibration, Card, Metric, Uncertainty
from zoo.evaluation.published import PUBLISHED, Published

__all__ = ["CURVE_FILE", "Board", "Standing", "boards", "curve_of", "label_of"]

CURVE_FILE = "curve.csv"
"""Beside a card: validation errors over the run, as ``zoo train`` writes them."""


@dataclass(frozen=True)
class Standing:
    """A model on a board.

    Attributes:
        origin: who registers it.
        split: of which the metrics are; ``None`` if nothing was measured.
        metrics: of this split, by (target, metric).
        calibration: how the intervals held on it, if they belong to the weights that the card names.
        curve: rows of the learning curve; empty if there is none.
    """

    card: Card
    origin: str
    split: str | None
    metrics: dict[tuple[str, str], Metric]
    calibration: Calibration | None
    curve: list[dict[str, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.card.name

    def value(self, target: str, metric: str = "mae") -> float | None:
        found = self.metrics.get((target, metric))
        return None if found is None else found.value

    @property
    def rate(self) -> float | None:
        """Molecules a second while training: as measured, or from the epochs and the hours."""
        training, split = self.card.training, self.card.data.split
        if training.molecules_per_second is not None:
            return training.molecules_per_second
        if training.epochs_done and training.hours and split and split.train:
            return training.epochs_done * split.train / (3600 * training.hours)
        return None

    @property
    def level(self) -> float | None:
        """Share of errors that the intervals are to cover."""
        section = self.card.uncertainty
        return section.level if isinstance(section, Uncertainty) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        card, weights = self.card, self.card.weights
        return {
            "name": self.name, "architecture": card.architecture, "origin": self.origin, "split": self.split,
            "parameters": weights.parameters if weights else None, "hours": card.training.all_hours,
            "device": card.training.device, "training_molecules_per_second": self.rate and float(f"{self.rate:.3g}"),
            "metrics": [m.model_dump(exclude_none=True) for m in self.metrics.values()],
            "breakdown": [b.model_dump() for b in card.breakdown if b.split == self.split],
            "intervals": self.calibration and self.calibration.model_dump(exclude_none=True),
            "curve": self.curve,
        }


@dataclass(frozen=True)
class Board:
    """Models that were measured on the same structures.

    Attributes:
        label: name of the data.
        targets: of any of the models, in the order of their cards; derivatives last.
        models: those of the built-in architectures' order first come, then by name.
        published: figures of papers on the same data; what differs is said in their notes.
    """

    label: str
    targets: list[str]
    models: list[Standing]
    published: Sequence[Published] = ()

    @property
    def is_force_field(self) -> bool:
        return any(name in DERIVATIVES for name in self.targets)

    def unit(self, target: str) -> str:
        """Of the errors of a target."""
        for model in self.models:
            for (name, metric), found in model.metrics.items():
                if name == target and metric == "mae":
                    return found.unit
        for paper in self.published:
            if target in paper.units:
                return paper.units[target]
        return next((m.card.targets[target].unit for m in self.models if target in m.card.targets), "")

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"data": self.label, "targets": {name: self.unit(name) for name in self.targets},
                "models": [model.to_dict() for model in self.models],
                "published": [asdict(paper) for paper in self.published]}


def boards(cards: Iterable[tuple[Card, str]], *, dataset: str | None = None) -> list[Board]:
    """Boards of cards, each given with who registers it; cards without metrics are left out.

    Args:
        dataset: only boards of this label (``qm9``, ``acac`` …).
    """
    groups: dict[tuple[str, Any], list[Standing]] = {}
    for card, origin in cards:
        label = label_of(card)
        if card.metrics and dataset in (None, label):
            groups.setdefault((label, _identity(card)), []).append(_standing(card, origin))
    made = []
    for (label, _), models in groups.items():
        found = [name for m in models for name in m.card.targets] + [d for d in DERIVATIVES for m in models
                                                                     if any(key[0] == d for key in m.metrics)]
        shown = list(dict.fromkeys(found))
        made.append(Board(label, shown, models, PUBLISHED.get(label, ())))
    return sorted(made, key=lambda board: (board.is_force_field, -len(board.models), board.label))


def label_of(card: Card) -> str:
    """The data set's name; of data that have none, what the model's name says after its architecture."""
    return card.data.dataset or card.name.removeprefix(f"{card.architecture}-")


def _identity(card: Card) -> Any:
    """What tells the test structures: errors on different ones are not to be compared."""
    if card.data.files:
        return tuple(sorted(card.data.files.values()))
    return card.data.split.sha256 if card.data.split else None


def curve_of(card: Card) -> list[dict[str, float]]:
    """Rows of ``curve.csv`` beside a card; none if it is not there or is something else.

    Their hours go on from those of the runs that the last one started from.
    """
    path = None if card.folder is None else card.folder / CURVE_FILE
    if path is None or not path.is_file():
        return []
    before = card.training.earlier_hours or 0.0
    return [row | {"hours": before + row["hours"]} for row in _rows(path)]


def _rows(path: Path) -> list[dict[str, float]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
    except (ValueError, TypeError, AttributeError):
        return []
    return [row for row in rows if "step" in row and "hours" in row]


def _standing(card: Card, origin: str) -> Standing:
    splits = [m.split for m in card.metrics]
    split = "test" if "test" in splits else splits[0]
    metrics = {(m.target, m.metric): m for m in card.metrics if m.split == split}
    return Standing(card, origin, split, metrics, _calibration(card, split), curve_of(card))


def _calibration(card: Card, split: str) -> Calibration | None:
    section = card.uncertainty
    if not isinstance(section, Uncertainty) or card.weights is None or section.weights != card.weights.sha256:
        return None
    return next((m for m in section.measured if m.split == split), None)
