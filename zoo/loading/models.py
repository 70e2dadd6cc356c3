"""From a name to a model: name → card → weights → Model. The one place where resolution happens."""

from __future__ import annotations

import copy
import inspect
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from threading import RLock
from typing import Any, Literal

import torch

from zoo.cards import weights
from zoo.cards.card import Card
from zoo.cards.measured import Uncertainty
from zoo.cards.sections import TargetSpec
from zoo.elements import SYMBOLS, numbers
from zoo.errors import PluginError, UnknownNameError, WeightsError, ZooError, did_you_mean
from zoo.loading.reference_outputs import check_reference_outputs, record_reference_outputs
from zoo.loading.resolution import CardFolder, resolve
from zoo.loading.size_limit import limited_to
from zoo.model.model import Model
from zoo.model.priors import PRIORS
from zoo.model.readout_kinds import READOUTS
from zoo.model.readouts import Readout
from zoo.nn.irreps import FeatureLayout
from zoo.plugin import Architecture
from zoo.process.device import chosen_device
from zoo.registry import host

__all__ = ["CardFolder", "build", "create", "exact_copy", "load", "resolve", "save"]

Verify = Literal["hash", "golden"]

_BUILDING = RLock()
"""Held while a model is made: the default dtype and the random numbers of torch belong to the whole process."""

_ALL_ELEMENTS = 100
_ENERGY = {"energy": {"readout": "energy", "unit": "eV"}}


@torch.inference_mode(False)  # weights made in inference mode could have no derivatives
def load(
    name: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | str | None = None,
    verify: Verify = "hash",
    download: bool = False,
) -> Model:
    """A trained model by name or from a card folder, in eval mode.

    Args:
        name: a name of ``zoo.list_models()``, the path of a card folder, ``"dir:path"`` or ``"hf:org/repo[@rev]"``.
        device: where to put it; the CPU if absent.
        dtype: ``torch.float32`` (default) or ``torch.float64``; constants are exact in either.
        verify: ``"hash"`` checks the bytes; ``"golden"`` also repeats the recorded predictions of the card.
        download: fetch weights that another package's authors published from the address in their card, as
            ``zoo pull NAME`` does, if they are not on this machine.

    Raises:
        UnknownNameError: no such model; names the nearest.
        WeightsError: the weights are not those that the card promises, are not to be had, or do not fit the
            architecture.
        HubError: they cannot be downloaded.
        PluginError: no installed plugin offers the architecture; says what to ``pip install``.
    """
    if verify not in ("hash", "golden"):
        raise ZooError(f"verify={verify!r} is unknown. Fix: choose 'hash' or 'golden'.")
    device, dtype = chosen_device(device), _dtype(dtype)
    found = resolve(name, download=download)
    card = found.card
    if not found.verified:
        fix = f"copy {found.folder} again from where it came, or take the model from the Hub with zoo pull"
        weights.check_hash(found.weights, sha256=found.promised.sha256, size=found.promised.bytes, fix=fix)
    header, _ = weights.read_header(found.weights)
    with _BUILDING, torch.random.fork_rng(devices=[]), limited_to(header, str(card.path or card.name)):
        model = build(card)
    weights.load_into(model, found.weights, upgrade=_upgrade(card))
    _check_references(model, card)
    model.eval()
    if verify == "golden":
        check_reference_outputs(model, card)
    return model.to(device=device, dtype=dtype)


@torch.inference_mode(False)
def create(
    architecture: str,
    *,
    targets: Mapping[str, Mapping[str, Any] | TargetSpec] | None = None,
    elements: Sequence[str] | None = None,
    pbc: bool = True,
    preset: str | None = None,
    inputs: Sequence[str] = (),
    priors: Mapping[str, Mapping[str, Any]] | None = None,
    name: str | None = None,
    dtype: torch.dtype | str | None = None,
    device: str | torch.device | None = None,
    **config: Any,
) -> Model:
    """An untrained model; its weights follow from ``torch.manual_seed``.

    Args:
        architecture: a name of ``zoo plugins``.
        targets: as in a card, ``{"U0": {"readout": "energy", "unit": "eV"}}``; an energy in eV if absent.
        elements: chemical symbols of the domain; the first hundred elements if absent. A backbone with weights per
            element, which takes atomic numbers as ``elements``, gets these.
        pbc: whether periodic structures are in the domain.
        preset: start from a preset of the architecture, such as ``"paper"``.
        priors: known physics added to the energy, as in a card: ``{"zbl": {}}``; see :mod:`zoo.model.priors`.
        **config: keywords of the backbone; they win over the preset.

    Raises:
        UnknownNameError: unknown architecture or preset; names the nearest.
        CardError: a target is malformed.
        ZooError: a keyword the backbone does not take.
    """
    arch = host.architecture(architecture)
    if preset is not None and preset not in arch.presets:
        raise UnknownNameError(f"{architecture} has no preset '{preset}'{did_you_mean(preset, arch.presets)} "
                               f"Fix: name one of {', '.join(arch.presets) or 'none: it has no presets'}.")
    config = {**(arch.presets[preset] if preset else {}), **config}
    if arch.elements is not None:
        elements, config = _same_elements(arch, arch.elements, elements, config)
    known_physics = {"priors": {key: dict(settings) for key, settings in priors.items()}} if priors else {}
    card = Card.from_dict({
        "schema": 1,
        "name": name or f"{architecture}-untrained",
        "architecture": architecture,
        "format": arch.format,
        "config": config,
        "inputs": list(inputs),
        "targets": {key: _plain(spec) for key, spec in (targets or _ENERGY).items()},
        **known_physics,
        "domain": {"elements": list(elements or _first_elements()), "pbc": pbc},
    })
    return build(card).to(device=chosen_device(device), dtype=_dtype(dtype))


def build(card: Card) -> Model:
    """The model a card describes, with random weights, in float64.

    Built in float64 so that every constant a backbone derives is exact to float64; cast it afterwards.
    """
    with _BUILDING:
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


def save(model: Model, folder: str | Path, **changes: Any) -> Card:
    """Write a card folder: ``model.safetensors`` and ``card.yaml`` with its hash, references and reference outputs.

    Args:
        **changes: top-level keys of the card to replace, such as ``name="mine"``.

    Returns the card as written.
    """
    before = model.required_card
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    card = before.replace(**changes) if changes else before
    # Weights first: a card never promises a file that is not there.
    file = weights.save(model, folder / "model.safetensors", metadata={"name": card.name, "format": card.format})
    dtype = str(model.dtype).removeprefix("torch.")
    if card.source is not None and card.source.converted_sha256 != file.sha256:
        card = card.replace(source=None)  # these are no longer the weights that it is converted to
    card = card.replace(weights={**asdict(file), "dtype": dtype}, references=_references(model, card),
                        golden=record_reference_outputs(exact_copy(model, torch.float64, device="cpu").eval()))
    card = _with_error_model(card, before.folder, folder)
    card.save(folder)
    return card


def _with_error_model(card: Card, source: Path | None, folder: Path) -> Card:
    """The card with the error estimates that it had, if they are of the weights it has now; their file goes along."""
    section = card.uncertainty
    if not isinstance(section, Uncertainty):
        return card
    of_these = card.weights is not None and section.weights == card.weights.sha256
    if source is None or not of_these or not (source / section.file).is_file():
        return card.replace(uncertainty=None)
    if source.resolve() != folder.resolve():
        shutil.copyfile(source / section.file, folder / section.file)
    return card


def _same_elements(arch: Architecture, keyword: str, elements: Sequence[str] | None, config: dict[str, Any]
                   ) -> tuple[Sequence[str], dict[str, Any]]:
    """One list of elements for the domain (symbols) and for a backbone that has weights per element (numbers)."""
    if elements is not None:
        return elements, {**config, keyword: numbers(elements)}
    known = {**host.defaults(arch), **config}.get(keyword)
    known = numbers(_first_elements()) if known is None else known
    return [SYMBOLS[z] for z in known], {**config, keyword: list(known)}


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
    dtype = model.dtype if dtype is None else _dtype(dtype)
    if card is None:
        twin = copy.deepcopy(model)
    else:
        with _BUILDING, torch.random.fork_rng(devices=[]):
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


def _upgrade(card: Card) -> Any:
    arch = host.architecture(card.architecture, package=card.requires.plugin)
    if card.format == arch.format:
        return None
    package = host.provider(arch.name).package
    if card.format > arch.format:
        raise WeightsError(f"{card.name} was made by format {card.format} of {arch.name}, and {package} knows format "
                           f"{arch.format}. Fix: pip install -U {package}.")
    if arch.upgrade is None:
        raise WeightsError(f"{card.name} has format {card.format} of {arch.name}, and {package} has format "
                           f"{arch.format} and no upgrade from it. Fix: install the release of {package} that made it.")
    function = host.resolve(arch.upgrade, f"the upgrade of '{arch.name}'")
    return lambda state: function(state, card.format)


def _references(model: Model, card: Card) -> dict[str, Any]:
    """The readable copy of the references that the weights hold."""
    copies = {}
    for name, spec in card.targets.items():
        if spec.reference != "none":
            readout = model.readouts[name]
            names, values = readout.basis_names(model.elements), readout.constants.coefficients.tolist()
            known = card.references.get(name)
            copies[name] = {"kind": spec.reference, "unit": spec.unit, "values": dict(zip(names, values))}
            if known is not None and known.source:
                copies[name]["source"] = known.source
    return copies


def _check_references(model: Model, card: Card) -> None:
    for name, readable in card.references.items():
        readout = model.readouts[name]
        found = dict(zip(readout.basis_names(model.elements), readout.constants.coefficients.tolist()))
        for symbol, value in readable.values.items():
            if symbol in found and abs(found[symbol] - value) > 1e-6 * max(1.0, abs(value)):
                place = card.where("references", name, "values", symbol)
                raise WeightsError(f"{place}: the card says {value} {readable.unit} for {symbol}, the weights hold "
                                   f"{found[symbol]}. Fix: undo the change of the one that was edited.")


def _plain(spec: Mapping[str, Any] | TargetSpec) -> dict[str, Any]:
    return spec.model_dump(exclude_unset=True) if isinstance(spec, TargetSpec) else dict(spec)


def _first_elements() -> list[str]:
    from ase.data import chemical_symbols

    return chemical_symbols[1:_ALL_ELEMENTS]


def _dtype(dtype: torch.dtype | str | None) -> torch.dtype:
    chosen = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype or torch.float32
    if chosen not in (torch.float32, torch.float64):
        raise ZooError(f"dtype {dtype!r} is not one that models run in. Fix: use float32 or float64.")
    return chosen
