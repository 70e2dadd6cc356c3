"""What is the same for every entry: targets, data, budget, and the recipe of entries without their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.cards.card import DERIVATIVES
from zoo.cards.sections import TargetSpec
from zoo.comparison.entries import ComparisonEntry
from zoo.errors import DataError, TrainingError, did_you_mean
from zoo.registry import host
from zoo.training.recipe import apply_overrides, read_recipe

__all__ = ["STEPS", "Setup", "differences", "make_setup", "recipe_of", "with_validation_interval"]

STEPS = 400
_EVALUATIONS = 20
_SHARE = 0.15
"""Largest share of the time for validation; a forward pass takes about a third of a training step."""
_RECIPE: Mapping[str, Any] = {"lr": 1e-3, "schedule": {"kind": "cosine"}, "batch": {"molecules": 16}, "ema": 0.99,
                              "clip_norm": 10.0}
_FIXED_KEYS = ("budget", "seed", "eval_every", "eval_molecules", "keep", "early_stop", "from", "freeze")
_READOUTS = {"mu": "dipole", "alpha": "polarizability", "homo": "intensive", "lumo": "intensive", "gap": "intensive",
             "r2": "spatial_extent"}
"""Readouts of the properties of QM9 that are not sums over atoms."""
_SUMS = ("energy", "polarizability")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is the same for every entry.

    Attributes:
        targets: in the data's units; ``derivatives`` are learned together with them.
        data: the section ``data`` of every card.
        recipe: the recipe of entries without their own, complete except for the seed.
        steps, seconds: budget of each run; ``None`` for no limit.
        same_recipe: ignore the recipes of cards.
        overrides: changes applied to every card.
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


def make_setup(*, dataset: str | None, path: Path | None, targets: Sequence[str], steps: int | None,
               seconds: float | None, same_recipe: bool, overrides: Sequence[str]) -> Setup:
    """Build the setup and check it before any data are read.

    Args:
        dataset: name of a data set; the sample of QM9 if neither it nor ``path`` is given.
        path: path of the data set; without a name, a store or a file of structures.

    Raises:
        TrainingError: the budget is zero, there is no target, or an override changes what the comparison fixes.
        DataError: the data do not exist, or the unit of a target is unknown.
    """
    if (steps is not None and steps < 1) or (seconds is not None and not seconds > 0):
        raise TrainingError(f"a budget of {steps} steps and {seconds} seconds trains nothing. Fix: give --steps or "
                            "--seconds above 0")
    steps = STEPS if steps is None and seconds is None else steps
    for override in overrides:
        key = override.partition("=")[0].strip().removeprefix("training.").removeprefix("recipe.").split(".")[0]
        if key in _FIXED_KEYS:
            raise TrainingError(f"--set {override}: the comparison decides {key}, the same for all models. Fix: use "
                                "--steps, --seconds and --seeds instead")
    derivatives = tuple(name for name in DERIVATIVES if name in targets)
    data = {"path": str(path)} if path is not None and dataset is None else {"dataset": dataset or "qm9-sample"}
    changed = apply_overrides({"data": data, "recipe": _RECIPE},
                              [o for o in overrides if not o.startswith(("targets.", "config."))])
    units = _units(changed["data"], path)
    specs = {name.partition("=")[0]: _spec(name, units) for name in targets if name not in derivatives}
    if not specs:
        raise TrainingError("no target was given. Fix: name what to learn, such as --targets U0")
    losses = {name: {} for name in derivatives} | changed["recipe"].get("losses", {})
    recipe = {**changed["recipe"], **_fixed(steps, seconds), "losses": losses}
    recipe["schedule"] = {"warmup": _warmup(steps), **recipe["schedule"]}
    setup = Setup(targets=specs, derivatives=derivatives, data=changed["data"], recipe=recipe, steps=steps,
                        seconds=seconds, same_recipe=same_recipe, overrides=tuple(overrides))
    recipe_of(None, setup, seed=0)
    return setup


def with_validation_interval(setup: Setup, validation: int) -> Setup:
    """The setup with ``eval_every`` set: twenty validations a run, or fewer so that they take little of the time.

    Args:
        validation: number of validation molecules.
    """
    molecules = setup.recipe["batch"].get("molecules") or _RECIPE["batch"]["molecules"]
    wanted = max(1, setup.steps // _EVALUATIONS) if setup.steps else _EVALUATIONS
    every = max(wanted, math.ceil(validation / (3 * _SHARE * molecules)))
    return replace(setup, recipe={**setup.recipe, "eval_every": every})


def _fixed(steps: int | None, seconds: float | None) -> dict[str, Any]:
    """The part of every recipe that the comparison fixes."""
    budget = {"steps": steps, "hours": None if seconds is None else seconds / 3600, "epochs": None}
    return {"budget": budget, "eval_every": _EVALUATIONS, "eval_molecules": None, "keep": 1, "early_stop": None}


def _warmup(steps: int | None) -> int:
    return 20 if steps is None else min(20, steps // 10)


def _units(data: Mapping[str, Any], path: Path | None) -> Mapping[str, str]:
    """Unit of every known label of the data.

    Raises:
        UnknownNameError: there is no such data set.
        DataError: the file does not exist, or is not a store.
    """
    from zoo.data.open import open_dataset

    if path is not None and not path.exists():
        raise DataError(f"{path} does not exist. Fix: check the path given with --data")
    if data.get("dataset") is None:
        return open_dataset(path).units if path is not None and path.is_dir() else data.get("units", {})
    if data["dataset"].startswith("hf:"):
        return open_dataset(data["dataset"]).units
    return host.dataset(data["dataset"]).targets or open_dataset(data["dataset"], path=path).units


def _spec(target: str, units: Mapping[str, str]) -> TargetSpec:
    name, _, readout = target.partition("=")
    if name not in units:
        raise DataError(f"the data have no label '{name}'{did_you_mean(name, units)} Known are: "
                        f"{', '.join(units) or 'none'}. Fix: choose one of these; for a file of structures, give "
                        f"the unit with --set data.units.{name}=eV (and the key in the file, if it differs, with "
                        f"--set data.keys.{name}=…)")
    readout = readout or _READOUTS.get(name, "energy")
    return TargetSpec(readout=readout, unit=units[name], reference="fitted" if readout in _SUMS else "none")


# -- the recipe of one entry ---------------------------------------------------------------------------------------


def recipe_of(entry: ComparisonEntry | None, setup: Setup, *, seed: int) -> dict[str, Any]:
    """The recipe of an entry: its card's or that of the setup, with the budget and validation of the setup.

    Raises:
        TrainingError: the recipe of the card or an override is invalid.
    """
    card = entry.card if entry is not None and not setup.same_recipe else None
    if card is None or not card.recipe:
        recipe = dict(setup.recipe)
    else:
        recipe = {key: value for key, value in card.recipe.items() if key not in _FIXED_KEYS}
        recipe |= {key: value for key, value in setup.recipe.items() if key in _FIXED_KEYS}
        # The warm-up is a share of the budget, which is that of the setup.
        recipe["schedule"] = {**recipe.get("schedule", {}), "warmup": setup.recipe["schedule"]["warmup"]}
        named = {name: loss for name, loss in recipe.get("losses", {}).items() if name in setup.labels}
        recipe["losses"] = dict(setup.recipe["losses"]) | named
    overrides = [o for o in setup.overrides if not o.startswith(("targets.", "config.", "data."))]
    recipe = apply_overrides({"recipe": recipe}, overrides)["recipe"] | {"seed": seed}
    read_recipe(recipe, targets=list(setup.targets))
    return recipe


def differences(entry: ComparisonEntry, setup: Setup) -> list[str]:
    """How an entry differs from the others: its card, and every value of its recipe that is not the setup's."""
    labels = list(setup.targets)
    own = read_recipe(recipe_of(entry, setup, seed=0), targets=labels).model_dump()
    shared = read_recipe(recipe_of(None, setup, seed=0), targets=labels).model_dump()
    return [*entry.remarks, *(f"{key} {_short(own[key])}" for key in own if own[key] != shared[key])]


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(inner)}" for key, inner in value.items() if inner is not None)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
