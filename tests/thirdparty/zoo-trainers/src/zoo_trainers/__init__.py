"""Everything that a training run may take from elsewhere. Hooks only: no torch."""

from __future__ import annotations

from zoo.plugin import TrainingPart, hookimpl


@hookimpl
def zoo_training() -> list[TrainingPart]:
    return [
        TrainingPart(kind="loss", name="charbonnier", factory="zoo_trainers.parts:charbonnier",
                     summary="l2 near zero, l1 far from it"),
        TrainingPart(kind="optimizer", name="sgd", factory="zoo_trainers.parts:sgd", summary="with momentum"),
        TrainingPart(kind="schedule", name="trapezoid", factory="zoo_trainers.parts:trapezoid",
                     summary="constant, then straight down"),
        TrainingPart(kind="transform", name="noise", factory="zoo_trainers.parts:noise", summary="moves atoms"),
        TrainingPart(kind="metric", name="within", factory="zoo_trainers.parts:within", summary="share of errors"),
        TrainingPart(kind="stopping", name="good-enough", factory="zoo_trainers.parts:good_enough"),
    ]
