"""The learning rate and the end of training, as functions of numbers that a checkpoint holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

from zoo.training.recipe import Budget, Schedule

__all__ = ["Clock", "Plateau", "learning_rate"]


def learning_rate(schedule: Schedule, base: float, *, step: int, progress: float, plateau: float = 1.0,
                  factor: Callable[..., float] | None = None) -> float:
    """Rate of a step: warm-up rises linearly over the first steps; then cosine in progress (0 … 1), plateau, or the
    ``factor`` of a plugin."""
    warmup = min(1.0, (step + 1) / (schedule.warmup + 1))
    if schedule.kind == "cosine":
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return base * warmup * (schedule.final + (1 - schedule.final) * cosine)
    if schedule.kind == "plateau":
        return base * warmup * max(schedule.final, plateau)
    if factor is not None:
        return base * warmup * float(factor(progress=progress, step=step))
    return base * warmup


@dataclass
class Clock:
    """Progress of a run from 0 to 1.

    With steps or epochs it is step / total. With hours, each step adds a rate, which is computed from the time left
    and the measured speed after the first steps and at every evaluation. The rate is stored, so that a resumed run
    continues with it. Runs with a budget in hours are only as reproducible as the speed of the machine.
    """

    total_steps: int | None
    hours: float | None
    seconds: float = 0.0
    anchor_step: int = 0
    anchor: float = 0.0
    rate: float = 0.0
    measured_step: int = 0
    measured_seconds: float = 0.0

    @classmethod
    def of(cls, budget: Budget, steps_per_epoch: int) -> Clock:
        ends = []
        if budget.steps is not None:
            ends.append(budget.steps)
        if budget.epochs is not None:
            ends.append(max(1, math.ceil(budget.epochs * steps_per_epoch)))
        return cls(total_steps=min(ends) if ends else None, hours=budget.hours)

    def progress(self, step: int) -> float:
        """Fraction done before this step."""
        by_steps = step / self.total_steps if self.total_steps else 0.0
        by_time = self.anchor + self.rate * (step - self.anchor_step) if self.hours else 0.0
        return min(1.0, max(by_steps, by_time))

    def finished(self, step: int) -> bool:
        """True when the steps, or the hours, are used up."""
        if self.total_steps is not None and step >= self.total_steps:
            return True
        return self.hours is not None and (self.progress(step) >= 1.0 or self.seconds >= 3600 * self.hours)

    def tick(self, step: int, seconds: float, *, evaluated: bool) -> None:
        """Count the seconds of a finished step (or evaluation); update the rate when it is due."""
        self.seconds += seconds
        early = step in (1, 2, 4, 8, 16, 32, 64)
        if self.hours is None or not (evaluated or early):
            return
        left = 3600 * self.hours - self.seconds
        speed = (step - self.measured_step) / max(self.seconds - self.measured_seconds, 1e-9)
        self.anchor, self.anchor_step = self.progress(step), step
        self.measured_step, self.measured_seconds = step, self.seconds
        # The rate stays positive; with no time left the run ends at the next step.
        self.rate = (1 - self.anchor) / max(1.0, left * speed)

    def remaining_seconds(self, step: int) -> float | None:
        """Estimated time to the end; ``None`` before anything was measured."""
        progress = self.progress(step)
        if self.hours is not None and self.total_steps is None:
            return max(0.0, 3600 * self.hours - self.seconds)
        return self.seconds * (1 - progress) / progress if progress > 0 and self.seconds > 0 else None

    def state(self) -> dict[str, float | int | None]:
        return asdict(self)


@dataclass
class Plateau:
    """Lowers the rate when the validation loss stops falling; its three numbers go into the checkpoint."""

    best: float = math.inf
    waited: int = 0
    scale: float = 1.0

    def update(self, value: float, schedule: Schedule) -> None:
        if value < self.best:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= schedule.patience:
            self.scale, self.waited = self.scale * schedule.factor, 0

    def state(self) -> dict[str, float | int]:
        return asdict(self)
