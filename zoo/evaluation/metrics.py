"""Metrics of predictions: MAE, RMSE, largest error and R² in physical units, in the form of a card."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["TargetResult", "commit", "rounded", "shown", "summarise"]

BY = "zoo evaluate"


@dataclass(frozen=True)
class TargetResult:
    """Predictions and labels of one target over the structures that have the label.

    Attributes:
        unit: of both.
        predicted, label: (n, ...) float64.
        structure: (n,) index of the structure among the evaluated rows (for forces, that of each atom).
        baseline: (n, ...) prediction from the atomic references alone; 0 if there are none.
        width: (n,) half-width of the interval of each prediction; ``None`` without error estimates.
        atoms: (n,) atoms of each structure, for an energy whose derivatives are predicted too; ``None`` for others.
        composition: (n, n_elements) atoms of each element, for the energy; ``None`` for others.
    """

    unit: str
    predicted: np.ndarray
    label: np.ndarray
    structure: np.ndarray
    baseline: np.ndarray
    width: np.ndarray | None = None
    atoms: np.ndarray | None = None
    composition: np.ndarray | None = None

    @property
    def error(self) -> np.ndarray:
        return self.predicted - self.label


def summarise(results: Mapping[str, TargetResult], *, split: str, device: str) -> list[dict[str, Any]]:
    """MAE (with its 95 % confidence interval), RMSE, largest error and R² of every target, in the form of a card.

    Energies are in meV, those of force fields also per atom (``mae_per_atom``, ``rmse_per_atom``). R² is the explained
    share of the variance that remains after the atomic references.
    """
    entries = []
    for name, result in results.items():
        if len(result.label) == 0:
            continue
        unit, scale = shown(result.unit)
        common = {"n": len(result.label), "by": BY, "date": time.strftime("%Y-%m-%d"), "device": device,
                  "commit": commit()}
        for metric, value in _metrics(result).items():
            factor = 1.0 if metric == "r2" else scale
            entry = {"split": split, "target": name, "metric": metric, "value": rounded(value * factor),
                     "unit": "1" if metric == "r2" else f"{unit}/atom" if metric.endswith("_per_atom") else unit}
            if metric == "mae":
                entry["interval"] = [rounded(bound * scale) for bound in _interval(result)]
            entries.append({**entry, **{key: value for key, value in common.items() if value is not None}})
    return entries


def _metrics(result: TargetResult) -> dict[str, float]:
    error = result.error
    # The references explain nearly all variance of total energies, so that every model would have an R² of 1.
    label = (result.label - result.baseline).reshape(len(result.label), -1)
    spread = float(np.square(label - label.mean(0)).sum())
    metrics = {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt(np.square(error).mean())),
               "max": float(np.abs(error).max())}
    if result.atoms is not None:
        each = error.reshape(len(error), -1)[:, 0] / result.atoms
        metrics |= {"mae_per_atom": float(np.abs(each).mean()), "rmse_per_atom": float(np.sqrt(np.square(each).mean()))}
    if spread > 0:
        metrics["r2"] = 1.0 - float(np.square(error).sum()) / spread
    return metrics


def _interval(result: TargetResult) -> tuple[float, float]:
    """95 % interval of the MAE by the normal approximation over structures (atoms of one are not independent)."""
    absolute = np.abs(result.error).reshape(len(result.error), -1).mean(1)
    structures, place = np.unique(result.structure, return_inverse=True)
    sums, counts = np.bincount(place, absolute), np.bincount(place)
    mean = float(absolute.mean())
    if len(structures) < 2:
        return mean, mean
    # Ratio estimator: residual of each structure's sum from the mean error times its size.
    spread = float(np.sqrt(np.square(sums - mean * counts).sum() / (len(structures) - 1)))
    half = 1.96 * spread * np.sqrt(len(structures)) / counts.sum()
    return max(0.0, mean - half), mean + half


@cache
def commit() -> str | None:
    """The commit of the running source tree; ``None`` for an installed package."""
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).resolve().parent, capture_output=True,
                                text=True, timeout=5, check=False)
        tracked = subprocess.run(["git", "ls-files", "--error-unmatch", Path(__file__).name], timeout=5, check=False,
                                 cwd=Path(__file__).resolve().parent, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() if answer.returncode == 0 and tracked.returncode == 0 else None


def shown(unit: str) -> tuple[str, float]:
    """Unit and factor for printing errors: those of energies and forces are in thousandths."""
    return ("m" + unit, 1000.0) if unit.startswith("eV") else (unit, 1.0)


def rounded(value: float) -> float:
    """Five significant digits; the sixth differs between machines."""
    return float(f"{value:.5g}")
