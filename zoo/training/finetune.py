"""From a trained model and a file of structures to the card of a fine-tuning run.

The card of the run keeps whatever belongs to the model: see :data:`TRAVELS`, :data:`JOINED`, :data:`RENEWED` and
:data:`LEFT`, which together name every key of a card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.cards.card import DERIVATIVES, Card
from zoo.data.frames import available
from zoo.elements import NUMBERS, SYMBOLS
from zoo.errors import DataError, StructureError, TrainingError, did_you_mean
from zoo.loading.resolution import resolve
from zoo.registry import host
from zoo.units import dimension, factor

__all__ = ["JOINED", "LEFT", "RENEWED", "TRAVELS", "Mapped", "finetune_card"]

TRAVELS = ("schema_version", "architecture", "config", "format", "requires", "inputs", "signature", "priors",
           "exemptions", "license", "data_license", "citation", "limits")
"""Keys of a card that a fine-tuned model has from its origin; keys of plugins (``x-…``) travel too."""
JOINED = ("targets", "derivatives", "references", "domain", "recipe")
"""Keys that hold something of the origin and something of the new data."""
RENEWED = ("name", "summary", "data", "notes")
"""Keys that describe the fine-tuning."""
LEFT = ("source", "weights", "metrics", "breakdown", "training", "golden", "uncertainty", "stability")
"""What was measured on the weights of the origin, and holds for no others."""

_ASE_UNITS = {"energy": "eV", "free_energy": "eV", **DERIVATIVES}
_LR_FACTOR = 0.3
_COVERED = 2000
"""At most so many frames are measured for the ranges of bond lengths."""


@dataclass(frozen=True)
class Mapped:
    """Labels of a file: target → key in the file, and target → unit there."""

    keys: dict[str, str]
    units: dict[str, str]


def finetune_card(source: str, file: Path, *, targets: Sequence[str], units: Sequence[str] = (),
                  forces: str | None = None, stress: str | None = None, name: str | None = None) -> Card:
    """The card of a run that starts from ``source`` and trains on ``file``.

    Args:
        source: name or card folder of a trained model.
        targets: ``"target=key"`` or ``"target"``: what to learn, and its name in the file. A target of ``source`` keeps
            its readout; any other is a new energy. Without any, the energy of a force field, and the forces and stress
            that it derives, as ASE read them from the file.
        units: ``"target=unit"``; not needed for energies, forces and stress that the file gives in ASE's own form.
        forces, stress: their keys in the file.
        name: of the new card.

    Raises:
        DataError: the file cannot be read, a key is missing, or its unit is not known.
        TrainingError: forces without an energy, or nothing to learn.
    """
    found = _look(file)
    wanted = dict(_pair(text) for text in targets)
    derived = {label: key for label, key in (("forces", forces), ("stress", stress)) if key is not None}
    origin = resolve(source).card
    if not wanted and not derived and not units:
        wanted, derived = _in_ase_form(origin, found.first)
        forces = derived.get("forces")
    if not wanted:
        raise TrainingError(f"no target is named. The first structure of {file} has {available(found.first)}. Fix: say "
                            "what to learn with --target energy=KEY")
    usual = {label: spec.unit for label, spec in origin.targets.items()} | DERIVATIVES
    mapped = _mapped(found, file, wanted | derived, dict(_pair(text, what="--unit") for text in units), usual)
    specs = {label: _spec(origin, label, mapped.units[label], found.elements, file) for label in wanted}
    energies = [label for label, spec in specs.items() if spec["readout"] == "energy"]
    if derived and not energies:
        raise TrainingError(f"{', '.join(derived)} derive from an energy, and none is among the targets. "
                            "Fix: add --target energy=KEY")
    _check_elements(origin, found.elements, file)
    references, notes = _references(origin, specs, found.elements)
    data = origin.to_dict()
    kept = {key: data[key] for name in TRAVELS if (key := Card.model_fields[name].alias or name) in data}
    if not energies:
        kept.pop("priors", None)  # energies, which this model does not have
    # Forces of an energy that the origin knows already can be asked for, whether or not they are trained on again.
    known = [label for label in origin.derivatives if any(label in origin.targets for label in energies)]
    return Card.from_dict({
        **kept,
        **{key: value for key, value in data.items() if key.startswith("x-")},
        "name": name or f"{origin.name}-finetuned",
        "summary": f"{origin.name}, fine-tuned on {file.name}.",
        "targets": specs,
        "derivatives": [label for label in DERIVATIVES if label in derived or label in known],
        "references": references,
        "domain": _domain(origin, found, file, wanted, forces, mapped.units.get("forces")),
        "data": {"path": str(file.resolve()), "keys": mapped.keys, "units": mapped.units},
        "recipe": _recipe(origin.recipe, source, derived),
        "notes": " ".join([f"Started from {origin.name}.", *notes]),
    }, source=f"card of the fine-tuning of {origin.name}")


@dataclass(frozen=True)
class _Found:
    """What a file holds: its first structure, the elements that occur, whether any structure is periodic, and up to
    :data:`_COVERED` of its structures, evenly spread."""

    first: Any
    elements: list[str]
    periodic: bool
    some: list[Any]


def _look(file: Path) -> _Found:
    from zoo.structures.formats import frames_of

    if not file.is_file():
        raise DataError(f"there is no file {file}. Fix: give the path of a file of structures with labels")
    first, numbers, periodic, some, stride = None, set(), False, [], 1
    for index, atoms in enumerate(frames_of(file)):
        if isinstance(atoms, StructureError):
            raise DataError(str(atoms))
        first = atoms if first is None else first
        numbers |= set(atoms.numbers.tolist())
        periodic |= bool(atoms.pbc.any())
        if index % stride == 0:
            some.append(atoms)
        if len(some) > _COVERED:
            some, stride = some[::2], 2 * stride
    if first is None:
        raise DataError(f"{file} holds no structures. Fix: give a file with at least one")
    return _Found(first, [SYMBOLS[z] for z in sorted(numbers)], periodic, some)


# -- what the origin and the new data both decide ------------------------------------------------------------------


def _check_elements(origin: Card, elements: Sequence[str], file: Path) -> None:
    """Refuse elements that a backbone with weights per element has none for."""
    arch = host.architecture(origin.architecture, package=origin.requires.plugin)
    if arch.elements is None:
        return
    known = {**host.defaults(arch), **origin.config}.get(arch.elements) or []
    strange = [symbol for symbol in elements if NUMBERS[symbol] not in known]
    if strange:
        raise TrainingError(f"{file} has {', '.join(strange)}, and {origin.name} has weights for "
                            f"{', '.join(SYMBOLS[z] for z in known)} only. Fix: leave those structures out, or train a "
                            f"new {origin.architecture} with zoo train")


def _references(origin: Card, specs: dict[str, dict[str, Any]], elements: Sequence[str]
                ) -> tuple[dict[str, Any], list[str]]:
    """Given references of the origin, which its targets keep, and notes about those that cannot be kept.

    Fitted ones are fitted again, starting at those of the origin, when the training begins. Given references
    (isolated atoms) that lack an element of the file are fitted too: ``specs`` is changed.
    """
    kept, notes = {}, []
    for label, spec in specs.items():
        held = origin.references.get(label)
        if held is None or spec.get("reference") != held.kind or held.kind == "fitted":
            continue
        lacking = [symbol for symbol in elements if symbol not in held.values]
        if lacking:
            spec["reference"] = "fitted"
            notes.append(f"The {held.kind} references of '{label}' have no value for {', '.join(lacking)}: references "
                         "were fitted again.")
        else:
            kept[label] = held.model_dump(exclude_unset=True)
    return kept, notes


def _domain(origin: Card, found: _Found, file: Path, targets: Mapping[str, str], forces: str | None,
            unit: str | None) -> dict[str, Any]:
    """What the origin was trained on and what the file adds; a new target is known on the file alone."""
    before = origin.domain
    joined = all(label in origin.targets for label in targets)
    numbers = {NUMBERS[symbol] for symbol in [*found.elements, *(before.elements if joined else ())]}
    reach = f"structures of {file.name}"
    if joined and before.reach:
        reach += f"; before the fine-tuning: {before.reach}"
    domain = {**before.model_dump(exclude_unset=True), "elements": [SYMBOLS[z] for z in sorted(numbers)],
              "pbc": found.periodic or (joined and before.pbc), "reach": reach}
    if before.bonds:
        domain["bonds"] = _bonds(found, before.bonds if joined else {})
    if before.max_force is not None:
        largest = _largest_force(found.some, forces) * (factor(unit, "eV/Å") if unit else 1.0)
        domain["max_force"] = round(max(largest, before.max_force if joined else 0.0), 2) or None
    return {key: value for key, value in domain.items() if value is not None or key in ("charge", "spin")}


def _bonds(found: _Found, before: Mapping[str, list[float]]) -> dict[str, list[float]]:
    from zoo.properties.coverage import training_coverage

    spans = training_coverage(found.some)["bonds"]
    for kind, (low, high) in before.items():
        own = spans.get(kind, [low, high])
        spans[kind] = [min(low, own[0]), max(high, own[1])]
    return dict(sorted(spans.items()))


def _largest_force(frames: Sequence[Any], key: str | None) -> float:
    """Of a force in the file, in its unit; 0 without forces."""
    values = [getattr(atoms.calc, "results", {}).get(key, atoms.arrays.get(key)) for atoms in frames] if key else []
    sizes = [np.linalg.norm(np.asarray(value, dtype=float), axis=-1).max() for value in values if value is not None]
    return float(np.nanmax(sizes)) if sizes else 0.0


# -- what the file says --------------------------------------------------------------------------------------------


def _pair(text: str, what: str = "--target") -> tuple[str, str]:
    label, equals, value = text.partition("=")
    if not label or (equals and not value) or (what == "--unit" and not equals):
        example = "energy=eV" if what == "--unit" else "energy=E"
        raise TrainingError(f"{what} {text}: expected NAME=VALUE. Fix: write it like {what} {example}")
    return label, value or label


def _mapped(content: _Found, file: Path, keys: Mapping[str, str], units: Mapping[str, str],
            usual: Mapping[str, str]) -> Mapped:
    """``usual``: a unit of each label whose quantity is known."""
    found = dict(units)
    for label, unit in units.items():
        if label in usual and dimension(unit) != dimension(usual[label]):
            raise DataError(f"--unit {label}={unit}: {label} is not measured in {unit}. Fix: give a unit such as "
                            f"{usual[label]}")
    for label, key in keys.items():
        holder = next((atoms for atoms in [content.first, *content.some] if key in _keys(atoms)), None)
        if holder is None:
            raise DataError(f"{file} has no '{key}' for {label}{did_you_mean(key, _keys(content.first))} Its first "
                            f"structure has {available(content.first)}. Fix: name one of these keys")
        results = getattr(holder.calc, "results", None) or {}
        if label not in found:
            # What ASE itself parsed is in ASE's units; a column of one's own is in whatever its author had.
            if key in results and key in _ASE_UNITS:
                found[label] = _ASE_UNITS[key]
            else:
                raise DataError(f"the unit of '{key}' in {file} is not known. Fix: give it, such as --unit "
                                f"{label}={usual.get(label, 'eV')}")
    strange = [label for label in units if label not in keys]
    if strange:
        raise DataError(f"--unit {strange[0]}: '{strange[0]}' is not among the labels{did_you_mean(strange[0], keys)} "
                        f"Fix: name one of {', '.join(keys)}")
    return Mapped({label: key for label, key in keys.items() if key != label}, {k: found[k] for k in keys})


def _keys(atoms: Any) -> list[str]:
    return [*atoms.info, *atoms.arrays, *(getattr(atoms.calc, "results", None) or {})]


def _in_ase_form(origin: Card, first: Any) -> tuple[dict[str, str], dict[str, str]]:
    """The energy of a force field, and its derivatives, if the first structure of a file has them as results of ASE."""
    energies = [label for label, spec in origin.targets.items() if spec.readout == "energy"]
    results = getattr(first.calc, "results", None) or {}
    if not origin.derivatives or len(energies) != 1 or "energy" not in results:
        return {}, {}
    return {energies[0]: "energy"}, {label: label for label in origin.derivatives if label in results}


def _spec(origin: Card, label: str, unit: str, elements: Sequence[str], file: Path) -> dict[str, Any]:
    if label in origin.targets:
        spec = {**origin.targets[label].model_dump(exclude_unset=True)}
        if origin.source is not None and spec.get("reference") == "fitted":
            spec["description"] = (f"total energy; its zero is that of {file.name} for {', '.join(elements)}, and that "
                                   f"of {origin.name} for other elements")
        return spec
    from zoo.data.frames import stored_unit

    return {"readout": "energy", "unit": stored_unit(unit), "reference": "fitted"}


def _recipe(origin: Mapping[str, Any], source: str, derived: Mapping[str, str]) -> dict[str, Any]:
    """Of the source, with a smaller rate and an end that suits few data."""
    kept = {key: origin[key] for key in ("optimizer", "betas", "batch", "clip_norm", "precision") if key in origin}
    losses = {label: {"kind": "l1", "weight": 10.0 if label == "forces" else 1.0} for label in derived}
    return {
        "from": source,
        "losses": losses,
        "lr": _LR_FACTOR * origin.get("lr", 1e-3),
        "schedule": {"kind": "cosine", "warmup": 50},
        "budget": {"epochs": 50},
        "ema": 0.99,
        "early_stop": {"metric": "loss", "patience": 20},
        **kept,
    }
