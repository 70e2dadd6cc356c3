"""The models of a comparison: an architecture with its preset ``small``, or a card with its config and recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.cards.card import Card
from zoo.errors import TrainingError, UnknownNameError, ZooError, did_you_mean
from zoo.plugin import Architecture
from zoo.registry import host
from zoo.registry.names import show

__all__ = ["ComparisonEntry", "find_entries"]

_PRESETS = ("small", "paper")


@dataclass(frozen=True, kw_only=True)
class ComparisonEntry:
    """A model to compare.

    Attributes:
        name: its name in the tables.
        architecture: name of the backbone's architecture.
        preset, config: preset of the architecture and the keywords that it stands for.
        inputs: optional inputs of the architecture or card, such as ``charge``.
        card: the card whose config and recipe are used; ``None`` for an architecture.
        remarks: differences from the other entries, except those of the recipe.
        error: why the model cannot be trained.
    """

    name: str
    architecture: str = ""
    preset: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    card: Card | None = None
    remarks: tuple[str, ...] = ()
    error: str | None = None


def find_entries(models: Sequence[str | Path]) -> list[ComparisonEntry]:
    """The entries of all names; a broken plugin or card gives an entry with its error.

    Raises:
        UnknownNameError: no architecture, model or card has this name; reported before any training.
        TrainingError: no names, one name twice, or a model whose weights are another package's.
    """
    found = [_find(str(model)) for model in models]
    if not found:
        raise TrainingError("no model was given. Fix: name at least one, as in zoo compare schnet painn nequip")
    names = [entry.name for entry in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TrainingError(f"named twice: {', '.join(twice)}. Names must differ. Fix: give each card its own name, "
                            "and each architecture a preset, such as painn:paper")
    return found


def _find(name: str) -> ComparisonEntry:
    try:
        base, _, preset = name.partition(":")
        if base in host.architectures():
            return _of_architecture(host.architecture(base), preset)
        host.architecture(name)  # raises: no architecture has this name, or two plugins offer it
    except UnknownNameError as unknown:
        if preset and base in host.architectures():
            raise
        return _of_card(name, unknown)
    except ZooError as error:
        return ComparisonEntry(name=name, error=str(error))
    raise AssertionError(name)


def _of_architecture(arch: Architecture, preset: str) -> ComparisonEntry:
    if preset and preset not in arch.presets:
        fix = f"choose one of {', '.join(arch.presets)}" if arch.presets else f"leave out ':{preset}'"
        raise UnknownNameError(f"{arch.name} has no preset '{preset}'{did_you_mean(preset, arch.presets)} Fix: {fix}")
    chosen = preset or next((p for p in (*_PRESETS, *arch.presets) if p in arch.presets), None)
    remarks = () if chosen == "small" else (f"preset {chosen}" if chosen else "no preset: defaults",)
    return ComparisonEntry(name=f"{arch.name}:{preset}" if preset else arch.name, architecture=arch.name, preset=chosen,
                           config=arch.presets[chosen] if chosen else {}, inputs=tuple(arch.inputs), remarks=remarks)


def _of_card(name: str, unknown: UnknownNameError) -> ComparisonEntry:
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and not path.exists():
        raise UnknownNameError(f"the card {name} does not exist. Fix: check the path")
    try:
        card = Card.load(path) if path.exists() else show(name)
    except UnknownNameError as error:
        broken = next((plugin for plugin in host.plugins() if plugin.error and plugin.name == name), None)
        if broken is None:
            raise UnknownNameError(f"'{name}' is neither an architecture nor a model nor a card.\n{unknown}\n{error}\n"
                                   "Fix: check the name; zoo list shows the models, zoo plugins the architectures"
                                   ) from None
        return ComparisonEntry(name=name, error=f"plugin '{name}' of {broken.package}: {broken.error}")
    except ZooError as error:
        return ComparisonEntry(name=path.stem if path.suffix else name, error=str(error))
    if card.source is not None:
        raise TrainingError(f"'{card.name}' has weights that another package's authors trained, and no recipe. A "
                            "comparison trains each model anew, and energies of such models are not compared: each "
                            f"has a zero of its own. Fix: compare the architecture {card.architecture}; for errors of "
                            f"forces on your frames, zoo evaluate {card.name} --data FILE")
    return ComparisonEntry(name=card.name, architecture=card.architecture, config=card.config, card=card,
                           inputs=tuple(card.inputs), remarks=(f"card {card.name}",))
