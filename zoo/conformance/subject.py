"""The subject of the checks: an architecture with random weights, or a trained model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ase
import torch

from zoo.cards.card import Card
from zoo.errors import ZooError
from zoo.graph.graph import Graph
from zoo.loading.building import build
from zoo.loading.models import create, load
from zoo.loading.resolution import CardFolder
from zoo.model.model import Model
from zoo.model.readout_kinds import READOUTS
from zoo.plugin import Architecture
from zoo.registry import host
from zoo.registry.discovery import PluginRecord

__all__ = ["ELEMENTS", "Subject", "rms", "seeded"]

ELEMENTS = ("H", "C", "N", "O", "F")
"""Elements of the untrained models."""

_MADE_BY_THE_KIT = ("charge", "spin")


@dataclass(frozen=True, eq=False)
class Subject:
    """One architecture or trained model.

    Attributes:
        name: name in the rows.
        architecture: its description.
        plugin: the plugin that offers the architecture.
        trained: card and weights; ``None`` for an architecture with random weights.
    """

    name: str
    architecture: Architecture
    plugin: PluginRecord
    trained: CardFolder | None = None

    @property
    def card(self) -> Card:
        return self.model.required_card if self.trained is None else self.trained.card

    @property
    def signature(self) -> dict[str, Any]:
        """What is claimed of the network: by its architecture, and of parity and smoothness by the card, since options
        of a model may give up what others of its architecture have."""
        own = self.trained.card.signature if self.trained is not None else {}
        return {**self.architecture.signature, **{key: own[key] for key in ("parity", "smooth") if key in own}}

    @cached_property
    def design(self) -> str:
        """Backbone, keywords and inputs, without weights, elements and targets, as JSON; equal for equal networks."""
        keywords = {name: value for name, value in self.keywords().items() if name != self.architecture.elements}
        return json.dumps([self.architecture.name, self.plugin.package, self.architecture.format, keywords,
                           sorted(self.card.inputs)], sort_keys=True, default=str)

    def keywords(self) -> dict[str, Any]:
        """Keywords of the backbone: those of the card, and defaults for the others."""
        return {**host.defaults(self.architecture), **self.card.config}

    @cached_property
    def model(self) -> Model:
        """The model in float64 and eval mode; checks do not change it."""
        if self.trained is not None:
            return load(self.trained.folder, dtype="float64")
        return self.untrained("float64").eval()

    @cached_property
    def energy_model(self) -> Model:
        """:attr:`model`, or its backbone under a random energy where no target is an energy."""
        model = self.model
        if model.energy_target is not None:
            return model
        with seeded(0):
            readout = READOUTS["energy"](model.layout, model.elements, hidden=[16])
        return Model(model.backbone, {"energy": readout}, units={"energy": "eV"}, elements=model.elements,
                     card=model.card).double().eval()

    def untrained(self, dtype: str = "float32", *, seed: int = 0) -> Model:
        """A new model of the same configuration; the random state is not changed."""
        with seeded(seed):
            if self.trained is not None:
                return build(self.trained.card).to(getattr(torch, dtype))
            preset = "small" if "small" in self.architecture.presets else None
            return create(self.architecture.name, preset=preset, elements=ELEMENTS, pbc=False,
                          inputs=self.architecture.inputs, name=f"{self.architecture.name}-check", dtype=dtype)

    def anew(self) -> Model:
        """A new instance of :attr:`model` with the same weights and no cached values."""
        model = self.untrained("float64")
        model.load_state_dict(self.model.state_dict())
        return model.eval()

    def graph(self, atoms: ase.Atoms | Sequence[ase.Atoms], dtype: torch.dtype = torch.float64) -> Graph:
        """A batch with the optional inputs that the card declares, for neutral closed-shell structures.

        Raises:
            ZooError: the card declares an input for which the kit has no values.
        """
        strange = [name for name in self.card.inputs if name not in _MADE_BY_THE_KIT]
        if strange:
            raise ZooError(f"{self.name} reads {', '.join(strange)}, for which the kit has no values. Fix: leave out "
                           "the checks that need it with --skip")
        frames = [atoms] if isinstance(atoms, ase.Atoms) else list(atoms)
        for frame in frames:
            frame.info.update({name: 0.0 for name in self.card.inputs if name not in frame.info})
        return Graph.from_atoms(frames, dtype=dtype, inputs=self.card.inputs)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Sets the seed inside a block, and restores the random state after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def rms(value: torch.Tensor) -> float:
    """Root mean square; 0 for no values."""
    return float(value.double().square().mean().sqrt()) if value.numel() else 0.0

