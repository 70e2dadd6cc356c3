"""The results of a comparison as plain numbers. Torch-free."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from zoo.errors import EvaluationError

__all__ = ["Comparison", "EntrySummary", "RunResult"]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The result of one run.

    Attributes:
        model, size, seed: the entry, the number of training molecules and the seed.
        folder: folder under ``cells/``; a card folder that :func:`zoo.load` accepts.
        cutoff: in Å.
        epochs: passes over its own training set.
        seconds: wall time of training and validation.
        processor: processor time of the same in s, summed over threads; not affected by other users of the machine.
            Checkpoints are included.
        metrics: of the test split, as in a card (of the validation split if there is no test split).
        history: validation MAE of every target, in the units of ``metrics``, with ``step``, ``seconds``, ``processor``.
        error: why the run failed; ``None`` for a finished run.
        reused: the run was finished before this comparison was started.
    """

    model: str
    size: int
    seed: int
    folder: str = ""
    cutoff: float = math.nan
    parameters: int = 0
    steps: int = 0
    epochs: float = 0.0
    seconds: float = 0.0
    processor: float = 0.0
    device: str = ""
    metrics: tuple[Mapping[str, Any], ...] = ()
    history: tuple[Mapping[str, float], ...] = ()
    error: str | None = None
    reused: bool = False

    def metric(self, target: str, name: str = "mae") -> Mapping[str, Any]:
        """One entry of :attr:`metrics`.

        Raises:
            EvaluationError: this metric was not measured.
        """
        found = self.find(target, name)
        if found is None:
            known = dict.fromkeys(str(entry["target"]) for entry in self.metrics)
            fix = f"choose one of {', '.join(known)}" if known else "repeat the comparison, which retries failed runs"
            raise EvaluationError(f"{self.model} with {self.size} molecules: no {name} of '{target}' was measured"
                                  f"{f' ({self.error})' if self.error else ''}. Fix: {fix}")
        return found

    def find(self, target: str, name: str = "mae") -> Mapping[str, Any] | None:
        """As :meth:`metric`, but ``None`` if the run failed or no test molecule has the label."""
        return next((m for m in self.metrics if (m["target"], m["metric"]) == (target, name)), None)


@dataclass(frozen=True, kw_only=True)
class EntrySummary:
    """A model of the comparison: how it differs from the others, and why it failed if no run could start."""

    model: str
    architecture: str = ""
    differs: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All results of one comparison.

    Attributes:
        data: name of the data.
        counts: number of validation and test molecules.
        targets, sizes, seeds: as requested.
        budget: ``steps`` and ``seconds`` of each run.
        recipe: the recipe of entries without their own.
        entries: the models in the order in which they were named.
        runs: the results, by size, seed and model.
        baseline: test MAE of a linear fit to the composition, by target and size, in the units of the metrics.
        interrupted: not all runs were trained.
    """

    data: str
    counts: Mapping[str, int]
    targets: tuple[str, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    budget: Mapping[str, float | None]
    recipe: Mapping[str, Any]
    entries: tuple[EntrySummary, ...]
    runs: tuple[RunResult, ...]
    baseline: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def runs_of(self, model: str, size: int) -> list[RunResult]:
        """The finished runs of a model and size."""
        return [run for run in self.runs if (run.model, run.size) == (model, size) and run.error is None]

    def value(self, model: str, target: str, size: int | None = None) -> tuple[float, float] | None:
        """Test MAE and its uncertainty, in :meth:`unit`; ``None`` if no run was finished.

        The mean over seeds and their standard deviation; for one seed, half the 95 % interval over test molecules.
        """
        runs = self.runs_of(model, self.sizes[-1] if size is None else size)
        found = [metric for run in runs if (metric := run.find(target)) is not None]
        if not found:
            return None
        values = [metric["value"] for metric in found]
        if len(values) > 1:
            return statistics.fmean(values), statistics.stdev(values)
        low, high = found[0]["interval"]
        return values[0], 0.5 * (high - low)

    def unit(self, target: str) -> str:
        """Unit of the errors of a target; empty if nothing was measured."""
        return next((metric["unit"] for run in self.runs if (metric := run.find(target)) is not None), "")

    @property
    def split(self) -> str:
        """The split of the errors: ``test``, or ``val`` for data without a test split."""
        return next((str(run.metrics[0]["split"]) for run in self.runs if run.metrics), "test")

    @property
    def by_processor(self) -> bool:
        """Whether processor time measures the cost: true on CPUs, false on accelerators."""
        return all(run.device.startswith("CPU") for run in self.runs if run.device)

    @property
    def failures(self) -> tuple[RunResult, ...]:
        return tuple(run for run in self.runs if run.error is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, under the stored names ``rows`` (entries) and ``cells`` (runs)."""
        data = {{"entries": "rows", "runs": "cells"}.get(key, key): value for key, value in asdict(self).items()}
        data["cells"] = [{k: v for k, v in asdict(run).items() if v == v} for run in self.runs]
        return data
