"""Every hook a plugin may implement, with its contract.

A hook returns plain data and does no work; what it names as ``"package.module:attribute"`` is imported when used.
"""

# A specification has no body.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pluggy

from zoo.plugin import Architecture, DatasetSpec, Importer, TrainingPart

__all__ = ["zoo_architectures", "zoo_datasets", "zoo_fetchers", "zoo_importers", "zoo_readouts", "zoo_registries",
           "zoo_train_event", "zoo_training"]

_hookspec = pluggy.HookspecMarker("zoo")


@_hookspec
def zoo_architectures() -> Sequence[Architecture]:
    """Backbone families that this package offers."""


@_hookspec
def zoo_registries() -> Sequence[Path]:
    """Files ``registry.yaml``; paths of cards in them are relative to the file."""


@_hookspec
def zoo_datasets() -> Sequence[DatasetSpec]:
    """Data sets that can be opened by name."""


@_hookspec
def zoo_readouts() -> Mapping[str, str]:
    """Readout kinds, ``{kind: "package.module:Class"}``; the class is a :class:`zoo.model.readouts.Readout`."""


@_hookspec
def zoo_fetchers() -> Mapping[str, str]:
    """Sources of models, ``{scheme: "package.module:function"}``.

    ``zoo.load("scheme:rest")`` calls ``function(rest: str, folder: Path) -> Path``: it puts ``card.yaml`` and the
    weights below ``folder`` and returns the folder that holds the card.
    """


@_hookspec
def zoo_importers() -> Mapping[str, Importer]:
    """Model classes of other packages whose weights this package can convert, by the name that ``zoo import`` and the
    ``source`` of a card use."""


@_hookspec
def zoo_training() -> Sequence[TrainingPart]:
    """Losses, optimisers, schedules, transforms, metrics and stopping rules that a recipe can name."""


@_hookspec
def zoo_train_event(event: str, state: Mapping[str, Any]) -> None:
    """Listen to training, on rank 0.

    ``event`` is ``start``, ``log``, ``evaluate``, ``checkpoint``, ``skip`` (a step left out for its loss), ``failed``,
    ``disk full`` or ``end``; ``state`` holds plain numbers and strings (``step``, ``epoch``, ``loss``, ``U0.mae``, …)
    and must not be changed. An exception here is reported as a warning; training goes on.
    """
