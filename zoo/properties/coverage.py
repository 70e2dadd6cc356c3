"""Ranges of bond lengths and forces in training data, and warnings when a simulation leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import PropertyNotImplementedError

from zoo.cards.measured import Uncertainty
from zoo.cards.sections import Domain
from zoo.errors import DataError
from zoo.inference.prediction import predict
from zoo.model.model import Model
from zoo.properties.bonds import Bonds
from zoo.simulation.dynamics import Dynamics
from zoo.uncertainty import find

__all__ = ["CoverageMonitor", "training_coverage"]

_BOND_MARGIN, _FORCE_MARGIN = 0.05, 1.25
_WIDE = 1.35


def training_coverage(frames: Sequence[ase.Atoms], *, reference: ase.Atoms | None = None) -> dict[str, Any]:
    """``bonds`` and ``max_force`` for ``domain`` of a card, from the structures a model was trained on.

    Args:
        frames: training structures, with forces if available.
        reference: a structure of the molecule, if all frames are one molecule with the same order of atoms. Its bonds
            are measured in every frame, at any length. Without it the bonds of each frame are found by distance, up to
            1.35 sums of covalent radii.

    Raises:
        DataError: no frames, a frame with other atoms than the reference, or one whose positions are not finite.
    """
    if not frames:
        raise DataError("no frames to measure. Fix: give the frames that the model was trained on.")
    spans: dict[str, list[float]] = {}
    shared = None if reference is None else Bonds.of(reference)
    largest = 0.0
    for number, frame in enumerate(frames):
        if reference is not None and not np.array_equal(frame.numbers, reference.numbers):
            raise DataError(f"frame {number} has other atoms than the reference, or in another order. "
                            "Fix: give frames of one molecule in one order, or no reference.")
        if not np.isfinite(frame.positions).all():
            raise DataError(f"frame {number} has positions that are not finite. "
                            "Fix: correct the frame or leave it out.")
        bonds = shared or Bonds.of(frame, stretch=_WIDE)
        lengths = bonds.lengths(torch.from_numpy(frame.positions)[None])[0].numpy()
        for kind, values in bonds.by_kind(lengths).items():
            low, high = spans.get(kind, [np.inf, 0.0])
            spans[kind] = [min(low, float(values.min())), max(high, float(values.max()))]
        largest = max(largest, _largest_force(frame))
    reach: dict[str, Any] = {"bonds": {kind: [round(x, 3) for x in span] for kind, span in sorted(spans.items())}}
    return reach | ({"max_force": round(largest, 2)} if largest else {})


class CoverageMonitor:
    """Warns once per cause when a simulation leaves the ranges of the training data given in the card.

    Limits: bonds 5 % beyond the shortest and longest of the data, forces 25 % above the largest.

    Args:
        domain: of the model's card.
        structures: initial structures; their bonds are monitored.
        model: where it has error estimates, structures that they flag as out of distribution are reported too.

    Attributes:
        silent: True if the card has no ranges to compare with.
        seen: key of a warning → number of checks at which it applied.
    """

    def __init__(self, domain: Domain, structures: Sequence[ase.Atoms], *, model: Model | None = None) -> None:
        described = model is not None and model.card is not None and isinstance(model.card.uncertainty, Uncertainty)
        self._flagged_by = model if model is not None and described and find(model) is not None else None
        self._spans = {kind: (span[0] * (1 - _BOND_MARGIN), span[1] * (1 + _BOND_MARGIN))
                       for kind, span in domain.bonds.items()}
        self._domain = domain
        self._bonds = [Bonds.of(atoms, stretch=_WIDE) for atoms in structures] if self._spans else []
        self.silent = not self._spans and domain.max_force is None and self._flagged_by is None
        self.seen: dict[str, int] = {}

    def unknown_kinds(self) -> list[str]:
        """Kinds of bonds in the structures that do not occur in the training data."""
        if not self._spans:
            return []
        return sorted({kind for bonds in self._bonds for kind in bonds.kinds} - set(self._spans))

    def check(self, dynamics: Dynamics) -> list[str]:
        """New warnings for the current step."""
        new = []
        for key, message in [*self._lengths(dynamics), *self._forces(dynamics), *self._flags(dynamics)]:
            if key not in self.seen:
                new.append(f"{dynamics.time / 1000:.3f} ps: {message}")
            self.seen[key] = self.seen.get(key, 0) + 1
        return new

    def _lengths(self, dynamics: Dynamics) -> list[tuple[str, str]]:
        found = []
        bounds = dynamics.graph.ptr.tolist()
        pos = dynamics.pos.cpu()
        for b, bonds in enumerate(self._bonds):
            lengths = bonds.lengths(pos[None, bounds[b] : bounds[b + 1]])[0].numpy()
            for kind, values in bonds.by_kind(lengths).items():
                if kind not in self._spans:
                    continue
                low, high = self._spans[kind]
                short, long = float(values.min()), float(values.max())
                if short < low:
                    found.append((f"{kind} short", f"a {kind} bond of {short:.2f} Å is shorter than any the model was "
                                                   f"trained on ({self._domain.bonds[kind][0]:.2f} Å)"))
                if long > high:
                    found.append((f"{kind} long", f"a {kind} bond of {long:.2f} Å is longer than any the model was "
                                                  f"trained on ({self._domain.bonds[kind][1]:.2f} Å)"))
        return found

    def _forces(self, dynamics: Dynamics) -> list[tuple[str, str]]:
        limit = self._domain.max_force
        largest = float(dynamics.now.forces.norm(dim=1).max())
        if limit is None or largest <= _FORCE_MARGIN * limit:
            return []
        return [("force", f"a force of {largest:.1f} eV/Å is larger than any the model was trained on "
                          f"({limit:.1f} eV/Å)")]

    def _flags(self, dynamics: Dynamics) -> list[tuple[str, str]]:
        if self._flagged_by is None:
            return []
        sound = [atoms for atoms, failed in zip(dynamics.atoms(), dynamics.failed.tolist()) if not failed]
        predictions = predict(self._flagged_by, sound, uncertainty=True, on_error="keep") if sound else []
        flagged = [reason for p in predictions if isinstance(p, dict) for reason in p["outside"] or ()]
        # One key for all reasons: their text differs in every step.
        return [("unlike the training data", f"unlike the training data: {flagged[0]}")] if flagged else []


def _largest_force(frame: ase.Atoms) -> float:
    try:
        forces = frame.get_forces(apply_constraint=False) if frame.calc is not None else frame.arrays.get("forces")
    except PropertyNotImplementedError:
        forces = frame.arrays.get("forces")
    return 0.0 if forces is None else float(np.linalg.norm(forces, axis=1).max())
