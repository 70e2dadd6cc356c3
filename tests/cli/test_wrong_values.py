"""Values on the command line and in recipes that no run can use are refused with the values that can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.errors import EvaluationError, TrainingError, ZooError
from zoo.evaluation.evaluation import evaluate
from zoo.process.device import chosen_device
from zoo.training.distributed import ranks
from zoo.training.recipe import apply_overrides, read_recipe

FRAMES = Path(__file__).resolve().parents[2] / "zoo" / "data" / "samples"


@pytest.mark.parametrize("name", ["tpu", "gpu", "", "cpu0", "meta", "cuda:x"])
def test_an_unknown_device_is_refused_with_the_known_ones(name: str) -> None:
    for use in (chosen_device, lambda device: zoo.load("painn-ethanol", device=device),
                lambda device: ranks(device).__enter__()):
        with pytest.raises(ZooError, match=r"device '.*' is unknown\. Fix: choose cpu, cuda, or cuda:N"):
            use(name)


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_leaves_some_structure(limit: int) -> None:
    with pytest.raises(EvaluationError, match=rf"limit is {limit}: no structure .* Fix: give 1 or more"):
        evaluate("painn-ethanol", limit=limit)


@pytest.mark.parametrize("setting", [
    "batch.molecules=0", "batch.atoms=-5", "batch.edges=0", "budget.steps=0", "budget.steps=-1", "budget.epochs=0",
    "budget.hours=-1", "budget.hours=.inf", "lr=0", "lr=-1e-3", "lr=.nan", "lr=.inf", "accumulate=0", "eval_every=0",
    "eval_molecules=-1", "clip_norm=0", "clip_norm=.nan", "ema=1", "ema=.nan", "weight_decay=-1", "keep=0",
    "losses.energy.weight=.nan", "losses.energy.weight=-1", "losses.energy.weight=.inf", "losses.energy.delta=0",
    "schedule.warmup=-1", "batch.molecules=abc", "batch.molecules=2.5", "lr=", "seed=.nan",
])
def test_a_recipe_takes_no_number_that_cannot_be_trained_with(setting: str) -> None:
    data: dict[str, Any] = apply_overrides({"recipe": {}}, [setting])
    with pytest.raises(TrainingError, match="Fix: "):
        read_recipe(data["recipe"], targets=["energy"])
