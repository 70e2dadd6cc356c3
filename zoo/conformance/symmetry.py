"""Symmetry: features and targets transform under rotation, reflection, translation and permutation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch

from zoo.conformance import specimens
from zoo.conformance.checks import Check, Finding, below, not_applicable
from zoo.conformance.subject import Subject, rms
from zoo.lab.equivariance import Equivariance, equivariance

__all__ = ["CHECKS"]

BOUND = {"float32": 1e-3, "float64": 1e-8}
"""Bounds of relative errors; rounding gives about 1e-6 and 1e-15."""

_SHRINKS = 1e-4
_TRIALS = 2


def rotation(subject: Subject) -> Iterator[Finding]:
    for row, size in _rows(subject):
        yield below(row.proper / size, BOUND[row.dtype], of=row.of, dtype=row.dtype)


def reflection(subject: Subject) -> Iterator[Finding]:
    for row, size in _rows(subject):
        if _rotations_only(subject):
            yield not_applicable("the signature declares parity 'none': mirror images may differ",
                                 measured=row.improper / size, of=row.of)
            continue
        yield below(row.improper / size, BOUND[row.dtype], of=row.of, dtype=row.dtype)


def shrinks(subject: Subject) -> Iterator[Finding]:
    """Rounding errors shrink by 1e-9 from float32 to float64; the error of a float32 constant does not.

    Two float32 numbers may agree by chance, so an error in float32 counts at least as one spacing.
    """
    errors: dict[str, dict[str, float]] = {}
    for row, size in _rows(subject):
        worst = row.proper if _rotations_only(subject) else max(row.proper, row.improper)
        errors.setdefault(row.of, {})[row.dtype] = worst / size
    for of, error in errors.items():
        ratio = error["float64"] / max(error["float32"], torch.finfo(torch.float32).eps)
        yield below(ratio, _SHRINKS, "float64 error over float32 error", of=of)


def translation(subject: Subject) -> Iterator[Finding]:
    atoms = specimens.molecule(subject.model.elements)
    moved = atoms.copy()
    moved.positions += [7.0, -3.0, 11.0]
    for dtype in ("float32", "float64"):
        model = copy.deepcopy(subject.model).to(getattr(torch, dtype))
        with torch.no_grad():
            h, other = (model.features(subject.graph(a)) for a in (atoms, moved))
        yield below(float((h - other).abs().max()) / max(rms(h), 1e-12), BOUND[dtype], of="features", dtype=dtype)


def permutation(subject: Subject) -> Iterator[Finding]:
    atoms = specimens.molecule(subject.model.elements)
    order = np.random.default_rng(0).permutation(len(atoms))
    for dtype in ("float32", "float64"):
        model = copy.deepcopy(subject.model).to(getattr(torch, dtype))
        with torch.no_grad():
            h, other = (model.features(subject.graph(a)) for a in (atoms, atoms[order]))
        error = float((h[order] - other).abs().max())
        yield below(error / max(rms(h), 1e-12), BOUND[dtype], of="features", dtype=dtype)


def _rotations_only(subject: Subject) -> bool:
    """Whether the features claim no parity, as those of a network of SO(3)."""
    return subject.signature.get("parity") == "none"


@lru_cache(maxsize=2)
def _rows(subject: Subject) -> list[tuple[Equivariance, float]]:
    """The errors of :func:`zoo.lab.equivariance.equivariance`, and the size of the network's contribution."""
    atoms = specimens.molecule(subject.model.elements)
    graph = subject.graph(atoms)
    with torch.no_grad():
        network = subject.model(graph, standardised=True)
    scale = {name: float(readout.constants.scale) for name, readout in subject.model.readouts.items()}
    sizes = {name: scale[name] * max(rms(value), 0.1) for name, value in network.items()}
    measured = equivariance(subject.model, atoms, trials=_TRIALS)
    return [(row, sizes.get(row.of, max(row.size, 1e-12))) for row in measured]


CHECKS = (
    Check("symmetry.permutation", "renumbered atoms give renumbered features", permutation),
    Check("symmetry.translation", "a translation changes nothing", translation),
    Check("symmetry.rotation", "features rotate according to irreps_out, targets according to their shape", rotation),
    Check("symmetry.reflection", "features reflect according to irreps_out, targets according to their shape",
          reflection),
    Check("symmetry.precision", "the symmetry error is rounding error: it is much smaller in float64 than in float32",
          shrinks),
)
