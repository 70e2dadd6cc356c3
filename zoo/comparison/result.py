"""What a comparison found: plain numbers, each measured in a training of it. Torch-free."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from zoo.errors import EvaluationError

__all__ = ["Cell", "Comparison", "Row"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training.

    Attributes:
        model, size, seed: which.
        folder: under ``cells/``; a card folder that :func:`zoo.load` takes.
        cutoff: Å. epochs: over its own training set.
        seconds: of training, validation included, by the clock on the wall.
        processor: s, the same by the processor: on a CPU, the time of all threads, which other users of the machine
            do not lengthen. Checkpoints are included.
        metrics: of the test split, as a card holds them (of the validation split, where there is no test split).
        history: validation MAE of every target, in the units of ``metrics``, over ``step``, ``seconds``, ``processor``.
        error: why there are none of these.
        reused: it was finished before.
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
            EvaluationError: it was not measured.
        """
        found = self.find(target, name)
        if found is None:
            raise EvaluationError(f"{self.model} with {self.size} molecules: no {name} of '{target}' was measured"
                                  f"{f': {self.error}' if self.error else ''}")
        return found

    def find(self, target: str, name: str = "mae") -> Mapping[str, Any] | None:
        """As :meth:`metric`; ``None`` after a failure, and where no test molecule has the label."""
        entries = (e for e in self.metrics if (e["target"], e["metric"]) == (target, name))
        return next(entries, None)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contestant: its name, what it is, what was not the same for it, and why it failed altogether."""

    model: str
    architecture: str = ""
    differs: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All cells of one comparison.

    Attributes:
        data: name; ``counts`` of molecules for validation and test.
        targets: names; ``sizes`` and ``seeds`` that were asked for.
        budget: ``steps`` and ``seconds`` of every training. recipe: of those without one of their own.
        rows: contestants in the order in which they were named.
        baseline: test MAE of a linear fit to the composition, by target and size, in the units of the metrics.
        interrupted: not all cells were trained.
    """

    data: str
    counts: Mapping[str, int]
    targets: tuple[str, ...]
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    budget: Mapping[str, float | None]
    recipe: Mapping[str, Any]
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    baseline: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    interrupted: bool = False

    def cells_of(self, model: str, size: int) -> list[Cell]:
        """The cells of a contestant and size that were finished."""
        return [c for c in self.cells if (c.model, c.size) == (model, size) and c.error is None]

    def value(self, model: str, target: str, size: int | None = None) -> tuple[float, float] | None:
        """Test MAE and its uncertainty, in :meth:`unit`; ``None`` where no cell was finished.

        The mean over seeds and their standard deviation; for one seed, half the 95 % interval over test molecules.
        """
        cells = self.cells_of(model, self.sizes[-1] if size is None else size)
        entries = [entry for cell in cells if (entry := cell.find(target)) is not None]
        if not entries:
            return None
        values = [entry["value"] for entry in entries]
        if len(values) > 1:
            return statistics.fmean(values), statistics.stdev(values)
        low, high = entries[0]["interval"]
        return values[0], 0.5 * (high - low)

    def unit(self, target: str) -> str:
        """Unit of the errors of a target; empty while nothing was measured."""
        return next((entry["unit"] for cell in self.cells if (entry := cell.find(target)) is not None), "")

    @property
    def split(self) -> str:
        """Which molecules the errors are of: ``test``, or ``val`` for data without a test split."""
        return next((str(cell.metrics[0]["split"]) for cell in self.cells if cell.metrics), "test")

    @property
    def by_processor(self) -> bool:
        """Whether processor time is what a training costs: not where an accelerator does the work."""
        return all(cell.device.startswith("CPU") for cell in self.cells if cell.device)

    @property
    def failures(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if cell.error is not None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data = asdict(self)
        data["cells"] = [{k: v for k, v in asdict(cell).items() if v == v} for cell in self.cells]
        return data
