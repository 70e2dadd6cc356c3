"""From a trained model and a file of structures to the card of a fine-tuning run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.cards.card import DERIVATIVES, Card
from zoo.data.frames import available
from zoo.elements import SYMBOLS
from zoo.errors import DataError, StructureError, TrainingError, did_you_mean
from zoo.loading.models import resolve

__all__ = ["Mapped", "finetune_card"]

_ASE_UNITS = {"energy": "eV", "free_energy": "eV", **DERIVATIVES}
_LR_FACTOR = 0.3


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
            its readout; any other is a new energy.
        units: ``"target=unit"``; not needed for energies, forces and stress that the file gives in ASE's own form.
        forces, stress: their keys in the file.
        name: of the new card.

    Raises:
        DataError: the file cannot be read, a key is missing, or its unit is not known.
        TrainingError: forces without an energy, or nothing to learn.
    """
    first, elements, periodic = _look(file)
    wanted = dict(_pair(text) for text in targets)
    derived = {label: key for label, key in (("forces", forces), ("stress", stress)) if key is not None}
    if not wanted:
        raise TrainingError(f"no target is named. The first structure of {file} has {available(first)}. Fix: say what "
                            "to learn with --target energy=KEY")
    origin = resolve(source).card
    mapped = _mapped(first, file, wanted | derived, dict(_pair(text, what="--unit") for text in units))
    specs = {label: _spec(origin, label, mapped.units[label]) for label in wanted}
    if derived and not any(spec["readout"] == "energy" for spec in specs.values()):
        raise TrainingError(f"{', '.join(derived)} derive from an energy, and none is among the targets. "
                            "Fix: add --target energy=KEY")
    data = origin.to_dict()
    return Card.from_dict({
        "schema": data["schema"],
        "name": name or f"{origin.name}-finetuned",
        "summary": f"{origin.name}, fine-tuned on {file.name}.",
        **{key: data[key] for key in ("architecture", "config", "format", "requires", "inputs", "signature", "license",
                                      "citation") if key in data},
        "targets": specs,
        "derivatives": list(derived),
        "domain": {**data.get("domain", {}), "elements": elements, "pbc": periodic,
                   "reach": f"structures of {file.name}"},
        "data": {"path": str(file.resolve()), "keys": mapped.keys, "units": mapped.units},
        "recipe": _recipe(origin.recipe, source, derived),
        "notes": f"Started from {origin.name}.",
    }, source=f"card of the fine-tuning of {origin.name}")


def _look(file: Path) -> tuple[Any, list[str], bool]:
    """First structure, the elements that occur, and whether any structure is periodic."""
    from zoo.structures.formats import frames_of

    if not file.is_file():
        raise DataError(f"there is no file {file}. Fix: give the path of a file of structures with labels")
    first, numbers, periodic = None, set(), False
    for atoms in frames_of(file):
        if isinstance(atoms, StructureError):
            raise DataError(str(atoms))
        first = atoms if first is None else first
        numbers |= set(atoms.numbers.tolist())
        periodic |= bool(atoms.pbc.any())
    if first is None:
        raise DataError(f"{file} holds no structures. Fix: give a file with at least one")
    return first, [SYMBOLS[z] for z in sorted(numbers)], periodic


def _pair(text: str, what: str = "--target") -> tuple[str, str]:
    label, equals, value = text.partition("=")
    if not label or (equals and not value) or (what == "--unit" and not equals):
        example = "energy=eV" if what == "--unit" else "energy=E"
        raise TrainingError(f"{what} {text}: expected NAME=VALUE. Fix: write it like {what} {example}")
    return label, value or label


def _mapped(first: Any, file: Path, keys: Mapping[str, str], units: Mapping[str, str]) -> Mapped:
    results = getattr(first.calc, "results", None) or {}
    found = dict(units)
    for label, key in keys.items():
        if key not in first.info and key not in first.arrays and key not in results:
            known = [*first.info, *first.arrays, *results]
            raise DataError(f"{file} has no '{key}' for {label}{did_you_mean(key, known)} Its first structure has "
                            f"{available(first)}. Fix: name one of these keys")
        if label not in found:
            # What ASE itself parsed is in ASE's units; a column of one's own is in whatever its author had.
            if key in results and key in _ASE_UNITS:
                found[label] = _ASE_UNITS[key]
            else:
                raise DataError(f"the unit of '{key}' in {file} is not known. Fix: give it, such as --unit {label}=eV")
    strange = [label for label in units if label not in keys]
    if strange:
        raise DataError(f"--unit {strange[0]}: '{strange[0]}' is not among the labels{did_you_mean(strange[0], keys)} "
                        f"Fix: name one of {', '.join(keys)}")
    return Mapped({label: key for label, key in keys.items() if key != label}, {k: found[k] for k in keys})


def _spec(origin: Card, label: str, unit: str) -> dict[str, Any]:
    if label in origin.targets:
        return {**origin.targets[label].model_dump(exclude_unset=True)}
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
