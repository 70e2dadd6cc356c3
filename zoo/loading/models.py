"""From a name to a model: name → card → weights → Model. The one place where resolution happens."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch

from zoo.cards import weights
from zoo.cards.card import Card
from zoo.cards.measured import Uncertainty
from zoo.cards.sections import TargetSpec
from zoo.elements import SYMBOLS, numbers
from zoo.errors import UnknownNameError, WeightsError, ZooError, did_you_mean
from zoo.loading.building import BUILDING, build, exact_copy, model_dtype
from zoo.loading.reference_outputs import check_reference_outputs, record_reference_outputs
from zoo.loading.resolution import resolve
from zoo.loading.size_limit import limited_to
from zoo.model.model import Model
from zoo.plugin import Architecture
from zoo.process.device import chosen_device
from zoo.registry import host

__all__ = ["create", "load", "save"]

Verify = Literal["hash", "golden"]

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
    device, dtype = chosen_device(device), model_dtype(dtype)
    found = resolve(name, download=download)
    card = found.card
    if not found.verified:
        fix = f"copy {found.folder} again from where it came, or take the model from the Hub with zoo pull"
        weights.check_hash(found.weights, sha256=found.promised.sha256, size=found.promised.bytes, fix=fix)
    header, _ = weights.read_header(found.weights)
    with BUILDING, torch.random.fork_rng(devices=[]), limited_to(header, str(card.path or card.name)):
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
    return build(card).to(device=chosen_device(device), dtype=model_dtype(dtype))


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
