"""From a card to a model with random weights, and exact copies of models."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Any

import torch

from zoo.cards.card import Card
from zoo.elements import numbers
from zoo.errors import PluginError, UnknownNameError, ZooError, did_you_mean
from zoo.model.model import Model
from zoo.model.priors import PRIORS
from zoo.model.readout_kinds import READOUTS
from zoo.model.readouts import Readout
from zoo.nn.irreps import FeatureLayout
from zoo.registry import host

__all__ = ["BUILDING", "build", "exact_copy", "model_dtype"]

BUILDING = RLock()
"""Held while a model is made: the default dtype and the random numbers of torch belong to the whole process."""


def build(card: Card) -> Model:
    """The model a card describes, with random weights, in float64.

    Built in float64 so that every constant a backbone derives is exact to float64; cast it afterwards.
    """
    with BUILDING:
        return _built(card)


def _built(card: Card) -> Model:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        arch = host.architecture(card.architecture, package=card.requires.plugin)
        missing = [name for name in arch.inputs if name not in card.inputs]
        if missing:
            raise PluginError(f"{card.where('inputs')}: {arch.name} reads {', '.join(missing)}, and the card does not "
                              "declare it. Fix: list it under 'inputs'.")
        backbone = host.backbone(arch, card.config, where=lambda key: card.where("config", key))
        elements = numbers(card.domain.elements)
        layout = FeatureLayout(backbone.irreps_out)
        readouts = {n: _readout(card, n, layout, elements, arch.readout) for n in card.targets}
        units = {n: spec.unit for n, spec in card.targets.items()}
        priors = {name: PRIORS[name](float(backbone.cutoff), **settings) for name, settings in card.priors.given()}
        return Model(backbone, readouts, units=units, elements=elements, priors=priors, card=card)
    finally:
        torch.set_default_dtype(before)


@torch.inference_mode(False)
def exact_copy(model: Model, dtype: torch.dtype | str | None = None, *, device: str | torch.device | None = None
               ) -> Model:
    """A copy of a model in another dtype and on another device, both as they are if absent.

    Constants that the backbone derives are computed in float64 and cast once, so that a float64 copy of a float32 model
    has exact ones. A model without a card has nothing to compute them from: its copy is cast.

    Raises:
        ZooError: neither float32 nor float64.
    """
    card = None if dtype is None else model.card
    dtype = model.dtype if dtype is None else model_dtype(dtype)
    if card is None:
        twin = copy.deepcopy(model)
    else:
        with BUILDING, torch.random.fork_rng(devices=[]):
            twin = build(card)
        twin.load_state_dict(model.state_dict())
    return twin.to(device=device or model.device, dtype=dtype)


def _readout(card: Card, name: str, layout: FeatureLayout, elements: Sequence[int],
             defaults: Mapping[str, Any]) -> Readout:
    spec = card.targets[name]
    kind = READOUTS.get(spec.readout)
    if kind is None:
        offered = host.readouts()
        if spec.readout not in offered:
            known = [*READOUTS, *offered]
            raise UnknownNameError(f"{card.where('targets', name, 'readout')}: no readout '{spec.readout}'"
                                   f"{did_you_mean(spec.readout, known)} Fix: name one of {', '.join(known)}.")
        what = f"readout '{spec.readout}' of {host.provider(spec.readout, 'readouts').package}"
        kind = host.resolve(offered[spec.readout], what)
        if not (inspect.isclass(kind) and issubclass(kind, Readout)):
            raise PluginError(f"{what}: '{offered[spec.readout]}' is no readout. "
                              "Fix: derive it from zoo.model.readouts.Readout.")
    try:
        return kind(layout, elements, **spec.head(defaults))
    except ZooError:
        raise
    except Exception as error:  # whatever a readout's own code makes of its keywords
        raise PluginError(f"{card.where('targets', name)}: readout '{spec.readout}': {type(error).__name__}: {error}. "
                          "Fix: correct the target's hidden, activation, bias or options.") from error


def model_dtype(dtype: torch.dtype | str | None) -> torch.dtype:
    """float32 if none is given.

    Raises:
        ZooError: neither float32 nor float64.
    """
    chosen = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype or torch.float32
    if chosen not in (torch.float32, torch.float64):
        raise ZooError(f"dtype {dtype!r} is not one that models run in. Fix: use float32 or float64.")
    return chosen
