"""Leaderboards: all models with the same test structures on one board, made from their cards without torch."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zoo.cards.card import DERIVATIVES, Card
from zoo.cards.measured import Calibration, Metric, Uncertainty
from zoo.evaluation.published import PUBLISHED, Published

__all__ = ["CURVE_FILE", "Board", "LeaderboardEntry", "boards", "curve_of", "label_of"]

CURVE_FILE = "curve.csv"
"""File next to a card with the validation errors over the run, written by ``zoo train``."""


@dataclass(frozen=True)
class LeaderboardEntry:
    """A model on a board.

    Attributes:
        origin: the registry that lists the model.
        split: the split of the metrics; ``None`` if nothing was measured.
        metrics: of this split, by (target, metric).
        calibration: coverage of the intervals on this split, if they were fitted to the weights that the card names.
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
        """Training speed in molecules a second: as measured, or from the epochs and the hours."""
        training, split = self.card.training, self.card.data.split
        if training.molecules_per_second is not None:
            return training.molecules_per_second
        if training.epochs_done and training.hours and split and split.train:
            return training.epochs_done * split.train / (3600 * training.hours)
        return None

    @property
    def level(self) -> float | None:
        """The coverage that the intervals are calibrated for."""
        section = self.card.uncertainty
        return section.level if isinstance(section, Uncertainty) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        card = self.card
        return {
            "name": self.name, "architecture": card.architecture, "origin": self.origin, "split": self.split,
            "parameters": card.parameters, "hours": card.training.all_hours,
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
        targets: targets of all models, in the order of their cards; derivatives last.
        models: in the order of the cards that were given.
        published: results of papers on the same data; their notes list the differences.
    """

    label: str
    targets: list[str]
    models: list[LeaderboardEntry]
    published: Sequence[Published] = ()

    @property
    def is_force_field(self) -> bool:
        return any(name in DERIVATIVES for name in self.targets)

    def unit(self, target: str) -> str:
        """Unit of the errors of a target."""
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
    """Boards of cards, each given with its origin; cards without metrics are left out.

    Args:
        dataset: return only boards with this label (``qm9``, ``acac`` …).
    """
    groups: dict[tuple[str, Any], list[LeaderboardEntry]] = {}
    for card, origin in cards:
        label = label_of(card)
        if card.metrics and dataset in (None, label):
            groups.setdefault((label, _identity(card)), []).append(_entry(card, origin))
    made = []
    for (label, _), models in groups.items():
        found = [name for m in models for name in m.card.targets] + [d for d in DERIVATIVES for m in models
                                                                     if any(key[0] == d for key in m.metrics)]
        shown = list(dict.fromkeys(found))
        made.append(Board(label, shown, models, PUBLISHED.get(label, ())))
    return sorted(made, key=lambda board: (board.is_force_field, -len(board.models), board.label))


def label_of(card: Card) -> str:
    """Name of the data set; of unnamed data, the part of the model's name after its architecture."""
    return card.data.dataset or card.name.removeprefix(f"{card.architecture}-")


def _identity(card: Card) -> Any:
    """A key that is equal for cards with the same test structures, whose errors may be compared."""
    if card.data.files:
        return tuple(sorted(card.data.files.values()))
    return card.data.split.sha256 if card.data.split else None


def curve_of(card: Card) -> list[dict[str, float]]:
    """Rows of ``curve.csv`` next to a card; empty if the file is missing or has another format.

    The hours include those of earlier runs that the last one started from.
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


def _entry(card: Card, origin: str) -> LeaderboardEntry:
    splits = [m.split for m in card.metrics]
    split = "test" if "test" in splits else splits[0]
    metrics = {(m.target, m.metric): m for m in card.metrics if m.split == split}
    return LeaderboardEntry(card, origin, split, metrics, _calibration(card, split), curve_of(card))


def _calibration(card: Card, split: str) -> Calibration | None:
    section = card.uncertainty
    if not isinstance(section, Uncertainty) or section.weights != card.weights_sha256:
        return None
    return next((m for m in section.measured if m.split == split), None)
