"""Results of measurements in a card's `stability`: written into it, merged, and described in one line each.

Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.cards.card import Card
from zoo.errors import CardError

__all__ = ["describe", "holes", "merged", "write_result"]


def write_result(card: Card, key: str, result: Mapping[str, Any]) -> Path:
    """Write a result into ``stability`` of a card on disk; returns the card's file.

    Raises:
        CardError: the card belongs to no folder.
    """
    card = card.reread()
    if card.folder is None:
        raise CardError(f"the card of {card.name} is in no folder. Fix: save the model first")
    known = card.stability if isinstance(card.stability, dict) else {}
    return card.replace(stability={**known, key: merged(known.get(key), result)}).save(card.folder)


def merged(known: Any, result: Mapping[str, Any]) -> Mapping[str, Any]:
    """``result``, with the runs at other temperatures that are ``known`` if all settings are the same."""
    def settings(block: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in block.items() if name != "at"}

    if "at" not in result or not isinstance(known, dict) or settings(known) != settings(result):
        return result
    return {**result, "at": {**known["at"], **result["at"]}}


def describe(measured: Mapping[str, Any]) -> str:
    """One line for each result of ``zoo lab``; an unknown one is shown as JSON."""
    lines = []
    for name, block in measured.items():
        try:
            lines.append(_DESCRIBED[name](block))
        except (KeyError, TypeError, IndexError, ValueError):
            lines.append(f"{name}: {json.dumps(block, ensure_ascii=False)}")
    return "\n".join(lines)


def _nve(block: Mapping[str, Any]) -> str:
    return (f"NVE, {block['structure']}, {block['length_ps']:g} ps in steps of {block['timestep_fs']:g} fs, "
            f"{block['dtype']}: energy drifts by {block['drift_meV_per_atom']:.2g} meV/atom")


def _nvt(block: Mapping[str, Any]) -> str:
    runs = ", ".join(f"{run['survived']} of {run['of']} at {temperature}{_lost(run.get('lost') or {})}"
                     for temperature, run in block["at"].items())
    return f"NVT, {block['structure']}, {block['length_ps']:g} ps: bonds are kept by {runs}"


def _lost(runs: Mapping[str, int]) -> str:
    return f" (ended at {', '.join(f'{kind} {count}' for kind, count in runs.items())})" if runs else ""


def _equation_of_state(block: Mapping[str, Any]) -> str:
    return (f"equation of state, {block['structure']}: lattice constant {block['lattice_A'][0]:.3f} Å, "
            f"bulk modulus {block['bulk_modulus_GPa']:.1f} GPa")


def _phonons(block: Mapping[str, Any]) -> str:
    return (f"phonons, {block['structure']}: up to {block['highest_THz']:.2f} THz, "
            f"{block['imaginary'] or 'no'} imaginary frequencies")


def _delta(block: Mapping[str, Any]) -> str:
    words = {"outside": "unknown", "failed": "without minimum"}
    left_out = [f"{', '.join(block[key])} {word}" for key, word in words.items() if block[key]]
    found = [] if not block["crystals"] else [f"{block['delta_meV_per_atom']:.3g} meV/atom on average, median "
                                              f"{block['median_meV_per_atom']:.3g}"]
    return (f"Delta test, {block['crystals']} elemental crystals against all-electron PBE: "
            f"{'; '.join(found + left_out)}")


def _scan(block: Mapping[str, Any]) -> str:
    spans = ", ".join("{} {:g}–{:g}".format(kind, *bond["rises"]) for kind, bond in block["bonds"].items())
    found = holes(block)
    return (f"bonds pressed and stretched, {block['structure']}: the energy rises for {spans} times the length; "
            f"{'holes: ' + ', '.join(found) if found else 'no holes'}")


def holes(block: Mapping[str, Any]) -> list[str]:
    """Kinds of bonds with a hole in the energy when they are pressed or stretched, then those with one when turned."""
    pressed = sorted(kind for kind, bond in block["bonds"].items() if bond["hole"])
    return pressed + sorted({f"turned {turn['bond']}" for turn in block["turns"] if turn["hole"]})


_DESCRIBED = {"nve": _nve, "nvt": _nvt, "equation_of_state": _equation_of_state, "phonons": _phonons, "scan": _scan,
              "delta": _delta}
