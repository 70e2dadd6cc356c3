"""How far a run has come: the counters that its checkpoints keep."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["Progress"]


@dataclass
class Progress:
    """Counters of a run; all of them are in the checkpoint.

    Attributes:
        step: optimizer steps taken.
        epoch: epochs completed.
        place: batches of this epoch that were used.
        best: lowest value of the metric that decides which weights are best.
        best_step: the step of that value; ``None`` before the first evaluation.
        waited: evaluations since then, for early stopping.
        typical_loss: running mean of the loss, by which spikes are found.
        skipped: steps left out because of a spike, in all.
        skipped_in_a_row: those among the last steps.
        evaluated: step of the last evaluation.
        best_metrics: validation metrics at ``best_step``.
        history: step and metrics of every evaluation, for a plugin's rule that ends the run; empty without one.
    """

    step: int = 0
    epoch: int = 0
    place: int = 0
    best: float = math.inf
    best_step: int | None = None
    waited: int = 0
    typical_loss: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    evaluated: int = -1
    best_metrics: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
