"""Parts of a training run that plugins offer, named in the recipe: losses, optimisers, schedules and so on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.errors import PluginError, TrainingError, UnknownNameError, did_you_mean
from zoo.registry import host
from zoo.registry.discovery import BUILTIN_PARTS

if TYPE_CHECKING:
    from zoo.training.recipe import Recipe

__all__ = ["check_names", "make", "versions"]

CALLED: dict[str, tuple[int, tuple[str, ...]]] = {
    "loss": (1, ()), "metric": (1, ()), "optimizer": (1, ("lr",)), "schedule": (0, ("progress", "step")),
    "transform": (1, ("generator",)), "stopping": (0, ("history",))}
"""How a part is called: positional arguments, and keywords."""

Named = tuple[str, str, Mapping[str, Any], tuple[str, ...]]
"""Kind, name, options, and the keys that lead to it in the recipe."""


def named(recipe: Recipe) -> Iterator[Named]:
    """Every part that a recipe names, the zoo's own included."""
    for target, loss in recipe.losses.items():
        yield "loss", loss.kind, loss.options, ("losses", target, "kind")
    yield "optimizer", recipe.optimizer, recipe.optimizer_options, ("optimizer",)
    yield "schedule", recipe.schedule.kind, recipe.schedule.options, ("schedule", "kind")
    for number, transform in enumerate(recipe.transforms):
        yield "transform", transform.kind, transform.options, ("transforms", str(number), "kind")
    for name, metric in recipe.metrics.items():
        yield "metric", metric.kind, metric.options, ("metrics", name, "kind")
    if recipe.stopping is not None:
        yield "stopping", recipe.stopping.kind, recipe.stopping.options, ("stopping", "kind")


def check_names(recipe: Recipe, where: Callable[..., str]) -> None:
    """Refuse a part that nobody offers, before any work; imports nothing of a plugin but its hook module.

    Args:
        where: gives the place of a key of the recipe, for errors.

    Raises:
        TrainingError: there is no such part, or options are given to one of the zoo's own.
    """
    for kind, name, options, keys in named(recipe):
        if name in BUILTIN_PARTS[kind]:
            if options:
                raise TrainingError(f"{where(*keys)}: '{name}' takes no options; they are of plugins' parts. "
                                    "Fix: leave them out.")
            continue
        try:
            host.training_part(kind, name)
        except UnknownNameError as error:
            if ":" in name:
                raise TrainingError(f"{where(*keys)}: {error}") from None
            offered = [full.removeprefix(f"{kind} ") for full in host.training_parts() if full.startswith(f"{kind} ")]
            known = [*BUILTIN_PARTS[kind], *offered]
            listed = f"one of {', '.join(known)}, or " if known else ""
            raise TrainingError(f"{where(*keys)}: no {kind} is called '{name}'{did_you_mean(name, known)} Fix: name "
                                f"{listed}'package.module:function' of an installed plugin.") from None


def make(kind: str, name: str, options: Mapping[str, Any]) -> Callable[..., Any]:
    """The function of a plugin's part, imported now, with its options.

    Raises:
        PluginError: it cannot be imported, or cannot be called.
        TrainingError: an option that it does not take, or other arguments than those of its kind.
    """
    reference, plugin = host.training_part(kind, name)
    what = f"{kind} '{name}' of {plugin.package}"
    function = host.resolve(reference, what)
    if not callable(function):
        raise PluginError(f"{what}: '{reference}' is {type(function).__name__}, which cannot be called. Fix: name a "
                          "function or a class.")
    signature = inspect.signature(function)
    taken = signature.parameters
    if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        for key in options:
            if key not in taken:
                raise TrainingError(f"{what} takes no option '{key}'{did_you_mean(key, taken)} Fix: use some of "
                                    f"{', '.join(taken)}.")
    positional, keywords = CALLED[kind]
    try:
        signature.bind(*[None] * positional, **dict.fromkeys(keywords), **options)
    except TypeError as error:
        raise TrainingError(f"{what} cannot be called as a part of the kind {kind} is: {error}. Fix: give it the "
                            "arguments that zoo.plugin.TrainingPart lists.") from None
    return partial(function, **options)


def versions(recipe: Recipe) -> dict[str, str]:
    """The package, with its version, of each part that is a plugin's: ``{"loss charbonnier": "zoo-toys 0.1"}``."""
    return {f"{kind} {name}": host.training_part(kind, name)[1].package
            for kind, name, _, _ in named(recipe) if name not in BUILTIN_PARTS[kind]}
