"""Energies whose labels have another zero: one energy per element is fitted before they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ase.data import chemical_symbols

from zoo.errors import EvaluationError
from zoo.evaluation.metrics import TargetResult

__all__ = ["aligned"]


def aligned(result: TargetResult, elements: Sequence[int]) -> tuple[TargetResult, dict[str, float]]:
    """The result on the zero of its labels, and the energy that was added for each atom of an element.

    The shifts are those of least squared error per atom. They take nothing from what differs between structures of the
    same composition; they do take from what differs between compositions, the more the fewer structures there are.

    Args:
        result: of an energy, with its ``composition`` (n, n_elements).
        elements: (n_elements,) atomic numbers of its columns.

    Raises:
        EvaluationError: there are not more structures than shifts, so that no error would be left.
    """
    composition = result.composition
    if composition is None:
        raise EvaluationError("only an energy can be aligned. Fix: leave out --align-energies")
    present: list[int] = np.flatnonzero(composition.any(0)).tolist()
    if len(result.label) <= len(present):
        raise EvaluationError(f"energies of {len(present)} elements cannot be fitted to {len(result.label)} "
                              "structures. Fix: evaluate more structures, or leave out --align-energies")
    counts = composition[:, present]
    atoms = counts.sum(1)
    fitted, *_ = np.linalg.lstsq(counts / atoms[:, None], -result.error.reshape(-1) / atoms, rcond=None)
    shift = (counts @ fitted).reshape(result.label.shape)
    moved = replace(result, predicted=result.predicted + shift, baseline=result.baseline + shift)
    return moved, {chemical_symbols[elements[k]]: float(f"{value:.6g}") for k, value in zip(present, fitted.tolist())}
