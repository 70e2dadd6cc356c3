"""The Delta test: equations of state of elemental crystals against all-electron PBE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ase
import ase.units
import numpy as np

from zoo.errors import StructureError, ZooError
from zoo.inference.prediction import predict
from zoo.model.model import Model
from zoo.units import factor

__all__ = ["MAGNETIC", "REFERENCE", "Crystal", "DeltaTest", "VolumeCurve", "delta_test", "fit"]

REFERENCE = "WIEN2k, PBE, all electrons (ase.collections.dcdft)"
MAGNETIC = ("O", "Cr", "Mn", "Fe", "Co", "Ni")  # whose reference has magnetic moments
_RANGE = 0.06  # largest relative change of the volume
_POINTS = 7
_ROUNDS = 12
_CENTERED = 0.01  # relative distance of the minimum from the middle of the volumes at which a curve is accepted
_LARGEST_MOVE = 0.15  # of the middle in one round
_FARTHEST = 0.3  # relative distance from the reference volume at which the search ends


@dataclass(frozen=True)
class VolumeCurve:
    """Birch–Murnaghan equation of state: volume Å³/atom, bulk modulus GPa and its derivative by the pressure."""

    volume: float
    bulk_modulus: float
    derivative: float


@dataclass(frozen=True)
class Crystal:
    """One crystal: the model's curve, that of the reference, and Δ in meV/atom."""

    curve: VolumeCurve
    reference: VolumeCurve
    delta: float


@dataclass(frozen=True)
class DeltaTest:
    """What :func:`delta_test` found.

    Attributes:
        crystals: element → its crystal.
        outside: elements that the model does not know.
        failed: element → why it has no Δ; not part of any mean.
    """

    crystals: dict[str, Crystal]
    outside: tuple[str, ...]
    failed: dict[str, str]

    @property
    def delta(self) -> float:
        """Mean of Δ over the crystals, meV/atom; not a number without any."""
        return _mean([entry.delta for entry in self.crystals.values()])

    def report(self) -> dict[str, Any]:
        """Plain data: means and medians over the crystals, and Δ of each."""
        entries = list(self.crystals.values())
        deltas = [entry.delta for entry in entries]
        volumes = [100 * abs(e.curve.volume / e.reference.volume - 1) for e in entries]
        moduli = [100 * abs(e.curve.bulk_modulus / e.reference.bulk_modulus - 1) for e in entries]
        plain = [entry.delta for name, entry in self.crystals.items() if name not in MAGNETIC]
        return {
            "reference": REFERENCE, "crystals": len(entries),
            "delta_meV_per_atom": _rounded(_mean(deltas)),
            "median_meV_per_atom": _rounded(_median(deltas)),
            "without_magnetic_meV_per_atom": _rounded(_mean(plain)),
            "median_volume_error_percent": _rounded(_median(volumes)),
            "median_bulk_modulus_error_percent": _rounded(_median(moduli)),
            "each": {name: _rounded(entry.delta) for name, entry in self.crystals.items()},
            "outside": list(self.outside), "failed": dict(self.failed),
        }


def delta_test(
    model: Model,
    elements: Sequence[str] | None = None,
    *,
    max_atoms: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> DeltaTest:
    """Equations of state of elemental crystals at 0 K, compared with all-electron PBE (Lejaeghere et al. 2016).

    Each crystal of ``ase.collections.dcdft`` is scaled to seven volumes from 94 to 106 % of the model's equilibrium
    volume at fixed fractional coordinates and shape; energies are fitted by a Birch–Murnaghan equation of third order.
    Δ is the root mean square difference of two curves that are aligned at their minima, over 94 to 106 % of the mean of
    the two volumes. All volumes of all crystals are computed in common batches. Magnetic moments are those of the
    reference alone: the model sees none. A crystal whose minimum is more than 30 % away from the reference volume has
    no Δ; it is listed under ``failed``.

    Args:
        elements: chemical symbols; all 71 crystals if absent.
        max_atoms: atoms per batch.
        progress: called with the number of crystals done and of all.

    Raises:
        ZooError: an element without a crystal; a model without an energy or that knows none of the elements.

    References:
        K. Lejaeghere et al., Science 351, aad3000 (2016); K. Lejaeghere et al., Crit. Rev. Solid State Mater. Sci. 39,
        1 (2014).
    """
    from ase.collections import dcdft
    from ase.data import atomic_numbers, chemical_symbols

    names = list(dcdft.names) if elements is None else list(elements)
    unknown = [name for name in names if name not in dcdft.names]
    if unknown:
        raise ZooError(f"the Delta test has no crystal of {', '.join(unknown)}. Fix: choose from "
                       f"{', '.join(dcdft.names)}")
    if model.energy_target is None:
        raise ZooError(f"the Delta test needs an energy, and the targets are {', '.join(model.readouts)}. "
                       "Fix: choose a model with an energy target.")
    inside = {name: dcdft[name] for name in names if atomic_numbers[name] in model.elements}
    if not inside:
        raise StructureError(f"the model knows none of {', '.join(names)}. Fix: choose among its elements, "
                             f"{', '.join(chemical_symbols[z] for z in model.elements)}")
    curves, failed = _curves(model, inside, max_atoms, progress)
    crystals = {}
    for name, curve in curves.items():
        data = dcdft.data[name]
        reference = VolumeCurve(data["wien2k_volume"], data["wien2k_B"], data["wien2k_Bp"])
        crystals[name] = Crystal(curve, reference, _delta(curve, reference))
    return DeltaTest({name: crystals[name] for name in inside if name in crystals},
                     tuple(name for name in names if name not in inside), failed)


def fit(volumes: np.ndarray, energies: np.ndarray) -> VolumeCurve | None:
    """Least-squares fit of a Birch–Murnaghan equation, a cubic in V^(-2/3); None if it has no minimum.

    Args:
        volumes: (P,) Å³/atom. energies: (P,) eV/atom.
    """
    middle = float(np.mean(volumes))
    cubic = np.polynomial.Polynomial(np.polynomial.polynomial.polyfit((volumes / middle) ** (-2 / 3), energies, 3))
    first, second, third = cubic.deriv(1), cubic.deriv(2), cubic.deriv(3)
    lows = [float(root.real) for root in np.atleast_1d(first.roots())
            if abs(root.imag) < 1e-12 and root.real > 0 and second(root.real) > 0]
    if not lows:
        return None
    x = min(lows, key=lambda root: abs(root - 1))
    # d²E/dV² and d³E/dV³ at the minimum, where dE/dx = 0; volumes in units of the middle one.
    two = 4 / 9 * x**5 * second(x)
    three = -20 / 9 * x**6.5 * second(x) - 8 / 27 * x**7.5 * third(x)
    volume = x**-1.5
    return VolumeCurve(volume * middle, float(volume * two / middle / ase.units.GPa), float(-1 - volume * three / two))


def _curves(model: Model, crystals: dict[str, ase.Atoms], max_atoms: int, progress: Callable[[int, int], None] | None
            ) -> tuple[dict[str, VolumeCurve], dict[str, str]]:
    """Element → curve with its minimum in the middle of the volumes, and element → why it has none."""
    to_ev = factor(model.units[str(model.energy_target)], "eV")
    found: dict[str, VolumeCurve] = {}
    failed: dict[str, str] = {}
    stretch = np.linspace(1 - _RANGE, 1 + _RANGE, _POINTS)
    middle = {name: atoms.get_volume() / len(atoms) for name, atoms in crystals.items()}
    reference = dict(middle)
    for _ in range(_ROUNDS):
        waiting = [name for name in crystals if name not in found and name not in failed]
        if not waiting:
            break
        cells = [_at_volume(crystals[name], middle[name] * s) for name in waiting for s in stretch]
        results = predict(model, cells, max_atoms=max_atoms, on_error="keep")
        for k, name in enumerate(waiting):
            row = results[k * _POINTS : (k + 1) * _POINTS]
            wrong = next((result for result in row if isinstance(result, StructureError)), None)
            if wrong is not None:
                failed[name] = str(wrong)
                continue
            energies = np.array([result[model.energy_target] for result in row]) * to_ev / len(crystals[name])
            curve = fit(middle[name] * stretch, energies)
            if curve is not None and abs(curve.volume / middle[name] - 1) < _CENTERED:
                found[name] = curve
            else:
                middle[name] *= _move(curve, energies, middle[name], stretch)
                if abs(middle[name] / reference[name] - 1) > _FARTHEST:
                    failed[name] = f"no minimum of the energy within {_FARTHEST:.0%} of {reference[name]:.2f} Å³/atom"
        if progress is not None:
            progress(len(found) + len(failed), len(crystals))
    for name in crystals:
        if name not in found and name not in failed:
            failed[name] = f"no smooth minimum of the energy: the fitted one moves about {middle[name]:.2f} Å³/atom"
    return found, failed


def _move(curve: VolumeCurve | None, energies: np.ndarray, middle: float, stretch: np.ndarray) -> float:
    """By how much the middle of the volumes moves: to the fitted minimum if it is near, else downhill."""
    if curve is not None and abs(curve.volume / middle - 1) < _LARGEST_MOVE:
        return curve.volume / middle
    return float(stretch[int(energies.argmin())])


def _at_volume(atoms: ase.Atoms, volume: float) -> ase.Atoms:
    scaled = atoms.copy()
    scaled.set_cell(atoms.cell * (volume * len(atoms) / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
    return scaled


def _delta(curve: VolumeCurve, reference: VolumeCurve) -> float:
    """Δ in meV/atom."""
    from ase.utils.deltacodesdft import delta

    sides = ((c.volume, c.bulk_modulus * ase.units.GPa, c.derivative) for c in (curve, reference))
    return 1000 * float(delta(*next(sides), *next(sides)))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else np.nan


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else np.nan


def _rounded(value: float) -> float | None:
    return float(f"{value:.3g}") if np.isfinite(value) else None
