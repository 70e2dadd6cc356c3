"""What a card's `stability` says, a line a measurement. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["holes", "in_words"]


def in_words(measured: Mapping[str, Any]) -> str:
    """One line for each block that a command of ``zoo lab`` wrote; what it does not know stays JSON."""
    lines = []
    for name, block in measured.items():
        try:
            lines.append(_WORDS[name](block))
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


def _scan(block: Mapping[str, Any]) -> str:
    spans = ", ".join("{} {:g}–{:g}".format(kind, *bond["rises"]) for kind, bond in block["bonds"].items())
    found = holes(block)
    return (f"bonds pressed and stretched, {block['structure']}: the energy rises for {spans} times the length; "
            f"{'holes: ' + ', '.join(found) if found else 'no holes'}")


def holes(block: Mapping[str, Any]) -> list[str]:
    """Kinds of bonds whose scan found a hole, then those about which a turn did."""
    pressed = sorted(kind for kind, bond in block["bonds"].items() if bond["hole"])
    return pressed + sorted({f"turned {turn['bond']}" for turn in block["turns"] if turn["hole"]})


_WORDS = {"nve": _nve, "nvt": _nvt, "equation_of_state": _equation_of_state, "phonons": _phonons, "scan": _scan}
