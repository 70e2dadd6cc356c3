"""What every contestant is asked: targets, sizes, seeds, budget, and the recipe of those without one. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.cards.card import DERIVATIVES, TargetSpec
from zoo.comparison.contestants import Contestant
from zoo.errors import DataError, TrainingError, did_you_mean
from zoo.registry import host
from zoo.training.recipe import apply_overrides, read_recipe

__all__ = ["STEPS", "Question", "ask", "differences", "paced", "recipe_of"]

STEPS = 400
_EVALUATIONS = 20
_SHARE = 0.15
"""Of the time, at most, for validation: a forward pass is about a third of a step."""
_RECIPE: Mapping[str, Any] = {"lr": 1e-3, "schedule": {"kind": "cosine"}, "batch": {"molecules": 16}, "ema": 0.99,
                              "clip_norm": 10.0}
_OURS = ("budget", "seed", "eval_every", "eval_molecules", "keep", "early_stop", "from", "freeze")
_READOUTS = {"mu": "dipole", "alpha": "polarizability", "homo": "intensive", "lumo": "intensive", "gap": "intensive",
             "r2": "spatial_extent"}
"""How the properties of QM9 that are no sums over atoms follow from atomic features."""
_SUMS = ("energy", "polarizability")


@dataclass(frozen=True, kw_only=True)
class Question:
    """The same for all.

    Attributes:
        targets: in the data's units; ``derivatives`` are learnt with them.
        data: the section of that name in everyone's card.
        recipe: of every contestant that has none, complete but for the seed.
        same_recipe: those of cards are not followed.
        overrides: applied to every card.
    """

    targets: Mapping[str, TargetSpec]
    derivatives: tuple[str, ...]
    data: Mapping[str, Any]
    recipe: Mapping[str, Any]
    steps: int | None
    seconds: float | None
    same_recipe: bool
    overrides: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        return [*self.targets, *self.derivatives]


def ask(*, dataset: str | None, path: Path | None, targets: Sequence[str], steps: int | None, seconds: float | None,
        same_recipe: bool, overrides: Sequence[str]) -> Question:
    """Put the question together, and check it before any work.

    Args:
        dataset: a name; the sample of QM9 if neither it nor ``path`` is given.
        path: where the data set lies; without a name, a store or a file of structures.

    Raises:
        TrainingError: a budget of nothing, or an override of what the comparison decides.
        DataError: the unit of a target is not known.
    """
    if (steps is not None and steps < 1) or (seconds is not None and not seconds > 0):
        raise TrainingError(f"a budget of {steps} steps and {seconds} seconds trains nothing: give --steps or "
                            "--seconds above 0")
    steps = STEPS if steps is None and seconds is None else steps
    for override in overrides:
        key = override.partition("=")[0].strip().removeprefix("training.").removeprefix("recipe.").split(".")[0]
        if key in _OURS:
            raise TrainingError(f"--set {override}: the comparison decides {key}, the same for all; use --steps, "
                                "--seconds and --seeds")
    derivatives = tuple(name for name in DERIVATIVES if name in targets)
    data = {"path": str(path)} if path is not None and dataset is None else {"dataset": dataset or "qm9-sample"}
    changed = apply_overrides({"data": data, "recipe": _RECIPE},
                              [o for o in overrides if not o.startswith(("targets.", "config."))])
    units = _units(changed["data"], path)
    specs = {name.partition("=")[0]: _spec(name, units) for name in targets if name not in derivatives}
    if not specs:
        raise TrainingError("no target: name what to learn, such as --targets U0")
    losses = {name: {} for name in derivatives} | changed["recipe"].get("losses", {})
    recipe = {**changed["recipe"], **_fixed(steps, seconds), "losses": losses}
    recipe["schedule"] = {"warmup": _warmup(steps), **recipe["schedule"]}
    question = Question(targets=specs, derivatives=derivatives, data=changed["data"], recipe=recipe, steps=steps,
                        seconds=seconds, same_recipe=same_recipe, overrides=tuple(overrides))
    recipe_of(None, question, seed=0)
    return question


def paced(question: Question, validation: int) -> Question:
    """The question with an evaluation every so many steps: twenty a run, or fewer, so that it takes little time.

    Args:
        validation: number of molecules that are validated on.
    """
    molecules = question.recipe["batch"].get("molecules") or _RECIPE["batch"]["molecules"]
    often = max(1, question.steps // _EVALUATIONS) if question.steps else _EVALUATIONS
    every = max(often, math.ceil(validation / (3 * _SHARE * molecules)))
    return replace(question, recipe={**question.recipe, "eval_every": every})


def _fixed(steps: int | None, seconds: float | None) -> dict[str, Any]:
    """What the comparison decides in every recipe."""
    budget = {"steps": steps, "hours": None if seconds is None else seconds / 3600, "epochs": None}
    return {"budget": budget, "eval_every": _EVALUATIONS, "eval_molecules": None, "keep": 1, "early_stop": None}


def _warmup(steps: int | None) -> int:
    return 20 if steps is None else min(20, steps // 10)


def _units(data: Mapping[str, Any], path: Path | None) -> Mapping[str, str]:
    """Unit of every label that the data are known to have.

    Raises:
        UnknownNameError: no such data set. DataError: no such file, or no store.
    """
    from zoo.data.open import open_dataset

    if path is not None and not path.exists():
        raise DataError(f"{path} does not exist")
    if data.get("dataset") is None:
        return open_dataset(path).units if path is not None and path.is_dir() else data.get("units", {})
    if data["dataset"].startswith("hf:"):
        return open_dataset(data["dataset"]).units
    return host.dataset(data["dataset"]).targets or open_dataset(data["dataset"], path=path).units


def _spec(target: str, units: Mapping[str, str]) -> TargetSpec:
    name, _, readout = target.partition("=")
    if name not in units:
        raise DataError(f"the data have no label '{name}'{did_you_mean(name, units)} Known are: "
                        f"{', '.join(units) or 'none'}. For a file of structures say the unit it has there: "
                        f"--set data.units.{name}=eV (and its key, if another: --set data.keys.{name}=…)")
    readout = readout or _READOUTS.get(name, "energy")
    return TargetSpec(readout=readout, unit=units[name], reference="fitted" if readout in _SUMS else "none")


# -- one contestant's recipe -----------------------------------------------------------------------------------------


def recipe_of(contestant: Contestant | None, question: Question, *, seed: int) -> dict[str, Any]:
    """The recipe a contestant is trained by: its card's, or the one of the question; budget and validation are ours.

    Raises:
        TrainingError: a card's recipe, or an override, that does not hold.
    """
    card = contestant.card if contestant is not None and not question.same_recipe else None
    if card is None or not card.recipe:
        recipe = dict(question.recipe)
    else:
        recipe = {key: value for key, value in card.recipe.items() if key not in _OURS}
        recipe |= {key: value for key, value in question.recipe.items() if key in _OURS}
        # A warm-up is a part of its own budget.
        recipe["schedule"] = {**recipe.get("schedule", {}), "warmup": question.recipe["schedule"]["warmup"]}
        named = {name: loss for name, loss in recipe.get("losses", {}).items() if name in question.labels}
        recipe["losses"] = dict(question.recipe["losses"]) | named
    ours = [o for o in question.overrides if not o.startswith(("targets.", "config.", "data."))]
    recipe = apply_overrides({"recipe": recipe}, ours)["recipe"] | {"seed": seed}
    read_recipe(recipe, targets=list(question.targets))
    return recipe


def differences(contestant: Contestant, question: Question) -> list[str]:
    """What is not the same for this contestant: its card, and every value of its recipe that is not the question's."""
    labels = list(question.targets)
    own = read_recipe(recipe_of(contestant, question, seed=0), targets=labels).model_dump()
    shared = read_recipe(recipe_of(None, question, seed=0), targets=labels).model_dump()
    return [*contestant.remarks, *(f"{key} {_short(own[key])}" for key in own if own[key] != shared[key])]


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(inner)}" for key, inner in value.items() if inner is not None)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
