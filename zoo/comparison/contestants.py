"""Who takes part: an architecture in its small preset, or a card with its config and recipe. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.cards.card import Card
from zoo.errors import TrainingError, UnknownNameError, ZooError, did_you_mean
from zoo.plugin import Architecture
from zoo.registry import host
from zoo.registry import names as registry

__all__ = ["Contestant", "find_contestants"]

_PRESETS = ("small", "paper")


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One row of the comparison.

    Attributes:
        name: what the tables call it.
        architecture: registry key of the backbone.
        preset, config: of an architecture.
        card: that is followed, if one was named.
        remarks: what differs from the others before any recipe is looked at.
        error: why it cannot take part.
    """

    name: str
    architecture: str = ""
    preset: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    card: Card | None = None
    remarks: tuple[str, ...] = ()
    error: str | None = None


def find_contestants(models: Sequence[str | Path]) -> list[Contestant]:
    """Everyone who was named; a broken plugin or card gives a contestant with its error.

    Raises:
        UnknownNameError: nothing has this name: a slip of the keyboard is told before hours of training.
        TrainingError: nobody, or somebody twice.
    """
    found = [_find(str(model)) for model in models]
    if not found:
        raise TrainingError("name what to compare, such as: zoo compare schnet painn nequip")
    names = [contestant.name for contestant in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TrainingError(f"named twice: {', '.join(twice)}. Rows are told apart by name: give cards names of their "
                            "own, and architectures a preset, such as painn:paper")
    return found


def _find(name: str) -> Contestant:
    try:
        base, _, preset = name.partition(":")
        if base in host.architectures():
            return _of_architecture(host.architecture(base), preset)
        host.architecture(name)  # raises: there are none of this name, or two
    except UnknownNameError as unknown:
        if preset and base in host.architectures():
            raise
        return _of_card(name, unknown)
    except ZooError as error:
        return Contestant(name=name, error=str(error))
    raise AssertionError(name)


def _of_architecture(arch: Architecture, preset: str) -> Contestant:
    if preset and preset not in arch.presets:
        raise UnknownNameError(f"{arch.name} has no preset '{preset}'{did_you_mean(preset, arch.presets)}"
                               f" Presets: {', '.join(arch.presets) or 'none'}")
    chosen = preset or next((p for p in (*_PRESETS, *arch.presets) if p in arch.presets), None)
    remarks = () if chosen == "small" else (f"preset {chosen}" if chosen else "no preset: defaults",)
    return Contestant(name=f"{arch.name}:{preset}" if preset else arch.name, architecture=arch.name, preset=chosen,
                      config=arch.presets[chosen] if chosen else {}, inputs=tuple(arch.inputs), remarks=remarks)


def _of_card(name: str, unknown: UnknownNameError) -> Contestant:
    path = Path(name)
    if path.suffix in (".yaml", ".yml") and not path.exists():
        raise UnknownNameError(f"there is no card {name}")
    try:
        card = Card.load(path) if path.exists() else registry.show(name)
    except UnknownNameError as error:
        broken = next((plugin for plugin in host.plugins() if plugin.error and plugin.name == name), None)
        if broken is None:
            raise UnknownNameError(f"'{name}' is neither an architecture nor a model nor a card\n{unknown}\n{error}"
                                   ) from None
        return Contestant(name=name, error=f"plugin '{name}' of {broken.package}: {broken.error}")
    except ZooError as error:
        return Contestant(name=path.stem if path.suffix else name, error=str(error))
    return Contestant(name=card.name, architecture=card.architecture, config=card.config, card=card,
                      inputs=tuple(card.inputs), remarks=(f"card {card.name}",))
