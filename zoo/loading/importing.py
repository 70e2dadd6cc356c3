"""From foreign weights to a model of the zoo with a card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.cards.card import Card
from zoo.cards.schema import SCHEMA
from zoo.elements import SYMBOLS, numbers
from zoo.errors import WeightsError, ZooError
from zoo.files.hashing import sha256_of
from zoo.foreign import importer
from zoo.foreign.state import ForeignState, Imported
from zoo.loading.building import build
from zoo.registry import host

if TYPE_CHECKING:
    from zoo.model.model import Model

__all__ = ["import_model", "import_state"]


def import_model(
    kind: str,
    file: str | Path,
    *,
    elements: Sequence[str] | None = None,
    target: str = "energy",
    unit: str = "eV",
    name: str | None = None,
    scale: float = 1.0,
    shift: float = 0.0,
    pbc: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Model:
    """The zoo's model that computes the same as the other package's, with a card that says where it came from.

    Args:
        kind: a key of :func:`zoo.foreign.importers`.
        file: its state dict, as safetensors or as written by ``torch.save``, or its checkpoint, where the importer
            says so; no pickled code is ever run.
        elements: chemical symbols it was trained on; for nequip in the order of its ``type_names``. ``None`` where the
            file says them.
        target, unit: what the energy is to be called, and its unit.
        name: of the card.
        scale, shift: standardisation that was left out of the weights: energy = Σ_i (scale · y_i + shift + …).
        pbc: whether it was trained on periodic structures.
        config: what the weights do not hold, such as ``{"cutoff": 5.0}``.

    Raises:
        UnknownNameError: unknown ``kind``.
        WeightsError: not that kind of weights, something missing from ``config``, or a tensor without counterpart.
    """
    path = Path(file)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file. Fix: check the path.")
    tensors, header = host.resolve(importer(kind).read, f"the importer '{kind}'")(path)
    model = import_state(kind, tensors, elements=elements, target=target, unit=unit, name=name, scale=scale,
                         shift=shift, pbc=pbc, config=config, header=header)
    note = f"Imported by `zoo import {kind}` from a file with sha256 {sha256_of(path)}."
    model.card = model.required_card.replace(notes=note)
    return model


def import_state(
    kind: str,
    state: Mapping[str, Tensor],
    *,
    elements: Sequence[str] | None = None,
    target: str = "energy",
    unit: str = "eV",
    name: str | None = None,
    scale: float = 1.0,
    shift: float = 0.0,
    pbc: bool = False,
    config: Mapping[str, Any] | None = None,
    header: Mapping[str, Any] | None = None,
) -> Model:
    """:func:`import_model` for tensors in memory; ``header`` is the configuration that their file held."""
    chosen = importer(kind)
    factory = host.resolve(chosen.factory, f"the importer '{kind}'")
    given = dict(config or {})
    floating = {v.dtype for v in state.values() if v.is_floating_point()}
    exact = {k: v.detach().double() if v.is_floating_point() else v for k, v in state.items()}
    foreign = ForeignState(exact, given, kind, header or {})
    imported = _converted(factory, foreign)
    foreign.finish()

    elements = _elements(imported, elements, kind)
    own = {key: value for key, value in given.items() if key not in chosen.choices}
    spec = {"readout": "energy", "unit": unit, "hidden": [w.shape[0] for w, _ in imported.head[:-1]],
            "activation": imported.activation, "bias": imported.head[0][1] is not None}
    reference = _reference(imported, elements, shift)
    if reference is not None:
        spec["reference"] = "fitted"
    arch = host.architecture(imported.architecture)
    model = build(Card.from_dict({
        "schema": SCHEMA,
        "name": name or kind,
        "architecture": arch.name,
        "format": arch.format,
        "config": imported.config | own | ({"elements": numbers(elements)} if imported.by_element else {}),
        "targets": {target: spec},
        "domain": {"elements": list(elements), "pbc": pbc},
    }))
    _load(model.backbone, imported.backbone, kind)
    _load(model.readouts[target].net, _head(imported), kind)
    model.readouts[target].set_constants(coefficients=reference, scale=imported.scale * scale)
    # Weights alone decide the precision: some packages keep constants in float64 beside float32 weights.
    return model.eval().to(torch.float32 if torch.float32 in floating else torch.float64)


def _converted(factory: Callable[[ForeignState], Imported], foreign: ForeignState) -> Imported:
    try:
        return factory(foreign)
    except ZooError:
        raise
    except Exception as error:  # a configuration of other types or sizes than its tensors leads to whatever it leads to
        if not foreign.header:
            raise
        raise WeightsError(f"{foreign.kind}: the configuration in the file does not describe the tensors in it: "
                           f"{error!r}. Fix: give the file as its authors published it.") from error


def _elements(imported: Imported, named: Sequence[str] | None, kind: str) -> list[str]:
    """Symbols of the domain, from the file or from the user."""
    if imported.elements is None:
        if named is None:
            raise WeightsError(f"the weights of {kind} do not say which elements they know. Fix: name them all, "
                               "--elements H,C,N,O.")
        return list(named)
    if not set(imported.elements) <= set(range(1, len(SYMBOLS))) or len({*imported.elements}) < len(imported.elements):
        raise WeightsError(f"{kind}: the file's elements {list(imported.elements)} are not distinct atomic numbers. "
                           "Fix: give the file as its authors published it.")
    known = [SYMBOLS[z] for z in imported.elements]
    if named is not None and set(named) != set(known):
        raise WeightsError(f"the file says which {len(known)} elements it knows, and others were named. "
                           "Fix: leave out --elements.")
    return known


def _reference(imported: Imported, elements: Sequence[str], shift: float) -> Tensor | None:
    """(n_elements,) what is added per atom, or None."""
    value = torch.full((len(elements),), float(shift), dtype=torch.float64)
    if imported.shift is not None:
        value += imported.shift[torch.tensor(numbers(elements))]
    if imported.element_shift is not None:
        if len(imported.element_shift) != len(elements):
            raise WeightsError(f"these weights know {len(imported.element_shift)} elements, and {len(elements)} were "
                               "named. Fix: name them all, in the order of type_names.")
        value += imported.element_shift
    return value if bool(value.any()) else None


def _head(imported: Imported) -> dict[str, Tensor]:
    # Linear layers stand at even places, activations between them.
    state = {f"{2 * k}.weight": weight for k, (weight, _) in enumerate(imported.head)}
    return state | {f"{2 * k}.bias": bias for k, (_, bias) in enumerate(imported.head) if bias is not None}


def _load(module: torch.nn.Module, state: Mapping[str, Tensor], kind: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise WeightsError(f"{kind}: these weights do not make up the model that the configuration describes: {reason} "
                           "Fix: check --set, or give the file as its authors published it.") from error
