"""Parts of an evaluation: errors by size, element and kind of structure, and the calibration of the intervals."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.elements import SYMBOLS
from zoo.evaluation.metrics import TargetResult, rounded, shown
from zoo.uncertainty import interval_metrics

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.data.store import Store

__all__ = ["Groups", "breakdown", "by_kind", "calibration", "columns"]

Groups = dict[str, dict[str, dict[str, float]]]
"""Kind → group → ``{"mae": …, "n": …}``."""

_SIZES = (0, 10, 15, 20, 25, 30, 50, 100, 1000, 10**9)
_HEAVY = (0, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 100, 10**9)


def breakdown(result: TargetResult, store: Store, rows: Tensor) -> Groups:
    """MAE and count by number of atoms, by number of heavy atoms, and by element that the structure contains."""
    absolute = np.abs(result.error).reshape(len(result.error), -1).mean(1) * shown(result.unit)[1]
    atoms = store.n_atoms[rows].cpu().numpy()[result.structure]
    by_size, by_heavy, by_element = {}, {}, {}
    for low, high in pairwise(_SIZES):
        here = (atoms >= low) & (atoms < high)
        if here.any():
            by_size[_range(low, high)] = _mean(absolute[here])
    counts = store.subset(rows).composition(store.elements).cpu().numpy()
    heavy = counts[:, [z > 1 for z in store.elements]].sum(1)[result.structure]
    for low, high in pairwise(_HEAVY):
        here = (heavy >= low) & (heavy < high)
        if here.any():
            by_heavy[_range(low, high)] = _mean(absolute[here])
    for column, z in enumerate(store.elements):
        here = (counts[:, column] > 0)[result.structure]
        if here.any():
            by_element[SYMBOLS[z]] = _mean(absolute[here])
    return {"size": by_size, "heavy_atoms": by_heavy, "element": by_element}


def calibration(results: Mapping[str, TargetResult], flagged: Sequence[bool], split: str) -> dict[str, Any]:
    """The entry ``measured`` of a card's ``uncertainty``; ``flagged``: which structures are out of distribution."""
    held: dict[str, dict[str, float]] = {"coverage": {}, "spearman": {}, "width": {}}
    for name, result in results.items():
        if result.width is not None and len(result.label):
            found = interval_metrics(result.error, result.width)
            found["width"] *= shown(result.unit)[1]
            for key, value in found.items():
                held[key][name] = round(value, 3) if key != "width" else rounded(value)
    entry: dict[str, Any] = {"split": split, "n": len(flagged), **held, "outside": round(float(np.mean(flagged)), 5),
                             "date": time.strftime("%Y-%m-%d")}
    return entry


def by_kind(results: Mapping[str, TargetResult], flagged: Sequence[bool], store: Store, rows: Tensor, split: str
            ) -> dict[str, Any] | None:
    """Errors, coverage and flags of each kind of structures that the data set names, in the form of a card.

    ``coverage`` counts structures that are not flagged: an interval of a flagged one is not promised to hold.
    ``None`` for a data set of one kind, and for rows of one kind.
    """
    kinds = store.meta.get("kinds")
    if kinds is None:
        return None
    names, of = kinds["names"], store.labels[kinds["label"]][rows].long().cpu().numpy()
    present = np.unique(of).tolist()
    if len(present) < 2:
        return None
    out = np.asarray(flagged, dtype=bool)
    section: dict[str, Any] = {"split": split, "by": "kind", "groups": [names[kind] for kind in present],
                               "n": [int((of == kind).sum()) for kind in present], "mae": {}}
    if len(out):
        section |= {"coverage": {}, "outside": [round(float(out[of == kind].mean()), 4) for kind in present]}
    for name, result in results.items():
        kind_of, absolute = of[result.structure], np.abs(result.error).reshape(len(result.error), -1).mean(1)
        section["mae"][name] = [_or_none(absolute[kind_of == kind] * shown(result.unit)[1], rounded)
                                for kind in present]
        if result.width is not None and len(out):
            held, counted = absolute <= result.width, ~out[result.structure]
            section["coverage"][name] = [_or_none(held[counted & (kind_of == kind)], lambda share: round(share, 3))
                                         for kind in present]
    return section


def _or_none(values: np.ndarray, rounding: Callable[[float], float]) -> float | None:
    return rounding(float(values.mean())) if len(values) else None


def columns(parts_of: Mapping[str, Groups], split: str) -> list[dict[str, Any]]:
    """A breakdown by heavy atoms and by element in the form of a card: a column of values for every target."""
    sections = []
    for by in ("heavy_atoms", "element"):
        parts = {name: kinds[by] for name, kinds in parts_of.items() if by in kinds}
        # In the order of the target with the most groups; a group without labels of a target has no error of it.
        groups = max((list(part) for part in parts.values()), key=len, default=[])
        if groups:
            n = [max(part[g]["n"] for part in parts.values() if g in part) for g in groups]
            mae = {name: [part[g]["mae"] if g in part else None for g in groups] for name, part in parts.items()}
            sections.append({"split": split, "by": by, "groups": groups, "n": n, "mae": mae})
    return sections


def _range(low: int, high: int) -> str:
    return str(low) if high == low + 1 else f"{low}-{high - 1}" if high < 10**9 else f"{low}+"


def _mean(absolute: np.ndarray) -> dict[str, float]:
    return {"mae": rounded(float(absolute.mean())), "n": len(absolute)}
