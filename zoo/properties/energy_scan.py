"""Energy scans along bond stretches and rotations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ase
import numpy as np
from ase.data import covalent_radii
from ase.geometry import get_distances

from zoo.errors import StructureError
from zoo.inference.potential import Potential
from zoo.model.checks import MIN_DISTANCE
from zoo.model.model import Model
from zoo.properties.bonds import Bonds
from zoo.properties.sides import lighter_side, turns_about
from zoo.simulation.batch import batch_of
from zoo.simulation.relaxation import relax

__all__ = ["HOLE", "Curve", "Scan", "scan"]

HOLE = -0.02
"""eV; an energy below the relaxed structure's by more is a hole. Less is what the relaxation left."""

_MAX_ATOMS = 2000


@dataclass(frozen=True)
class Curve:
    """Energies along the stretch of, or the rotation about, one bond; both sides of the bond stay rigid.

    Attributes:
        kind: ``"C-H"`` and the like.
        atoms: indices of the two atoms of the bond.
        length: Å, of the relaxed bond.
        at: (K,) ascending; lengths in units of ``length``, or degrees. The relaxed structure is one of them.
        energy: (K,) eV above the relaxed structure; NaN where two nuclei coincide or the model's energy is not finite.
        origin: index of the relaxed structure in ``at``.
    """

    kind: str
    atoms: tuple[int, int]
    length: float
    at: np.ndarray
    energy: np.ndarray
    origin: int

    def rises(self) -> tuple[float, float]:
        """Range of ``at`` around the relaxed structure in which the energy rises monotonically away from it."""
        up = np.diff(self.energy) > 0
        down = np.diff(self.energy) < 0
        low = high = self.origin
        while low > 0 and down[low - 1]:
            low -= 1
        while high < len(up) and up[high]:
            high += 1
        return float(self.at[low]), float(self.at[high])

    @property
    def highest(self) -> float:
        """Largest finite energy, eV."""
        return float(np.nanmax(self.energy))

    @property
    def lowest(self) -> float:
        """Smallest finite energy, eV; 0 if none is below the relaxed structure."""
        return float(np.nanmin(self.energy))


@dataclass(frozen=True)
class Scan:
    """Energies of a molecule along the stretch of and the rotation about each of its bonds.

    Attributes:
        structure: relaxed with the model.
        bonds: one curve per bond, in units of its relaxed length.
        rotations: one curve per rotatable bond, in degrees.
        in_rings: number of bonds in rings, which are skipped.
    """

    structure: ase.Atoms
    bonds: list[Curve]
    rotations: list[Curve]
    in_rings: int

    def report(self) -> dict[str, Any]:
        """Plain data for ``stability`` of a card.

        Returns:
            ``bonds``, for each kind the worst of its bonds: between which lengths (in units of the relaxed one) the
            energy ``rises`` at every step away from the minimum, which were ``scanned``, the ``highest_eV`` and
            ``lowest_eV`` above the relaxed energy, where the lowest is and whether it is a ``hole``; ``turns``, the
            same for each bond, in degrees; ``in_rings``; ``not_finite``, number of energies that were not finite.
        """
        kinds = sorted({curve.kind for curve in self.bonds})
        return {
            "structure": self.structure.get_chemical_formula(),
            "start_relaxed": bool(self.structure.info["relax_converged"]),
            "bonds": {kind: _worst([c for c in self.bonds if c.kind == kind]) for kind in kinds},
            "turns": [{"bond": c.kind, "atoms": list(c.atoms), "length_A": round(c.length, 3),
                       "rises": [round(x) for x in c.rises()], **_extremes([c])} for c in self.rotations],
            "in_rings": self.in_rings,
            "not_finite": int(sum((~np.isfinite(c.energy)).sum() for c in [*self.bonds, *self.rotations])),
        }


def scan(
    model: Model,
    atoms: ase.Atoms,
    *,
    shortest: float = 0.4,
    longest: float = 1.6,
    step: float = 0.05,
    degrees: float = 10.0,
    progress: Callable[[int, int], None] | None = None,
) -> Scan:
    """Energies along the stretch of and the rotation about every bond that is in no ring, from the relaxed structure.

    The lighter side of the bond moves as a rigid body. A stretch ends when another pair of atoms across the bond is
    closer, in sums of covalent radii, than the two atoms of the bond: the energy may then fall for a physical reason,
    such as proton transfer. Rotations are scanned for every bond whose two atoms both have further neighbours, double
    bonds too.

    Args:
        shortest, longest, step: lengths, in units of the relaxed one.
        degrees: step of a rotation.
        progress: called with structures done and all.

    Raises:
        StructureError: a periodic structure, no bonds, no finite energy, or what the model cannot take.
    """
    if atoms.pbc.any():
        raise StructureError("a scan moves one side of a bond of a molecule, and the structure is periodic. "
                             "Fix: set atoms.pbc = False; for crystals use zoo lab eos or zoo lab phonons.")
    start = relax(model, atoms, fmax=0.005, steps=2000)
    bonds = Bonds.of(start)
    if not bonds.kinds:
        raise StructureError("a scan is about bonds, and no two atoms of the structure are bonded. "
                             "Fix: give a molecule with bonds.")
    pairs = list(zip(bonds.first.tolist(), bonds.second.tolist()))
    sides = [lighter_side(start, pairs, pair) for pair in pairs]
    plans = []
    for pair, kind, side in zip(pairs, bonds.kinds, sides):
        if side is None:
            continue
        plans.append(_stretched(start, pair, kind, side, _around(shortest, longest, step)))
        if turns_about(start, pairs, pair):
            plans.append(_turned(start, pair, kind, side, degrees))
    energies = _energies(model, start, [plan.positions for plan in plans], progress)
    curves = [plan.curve(energy) for plan, energy in zip(plans, energies)]
    return Scan(start, [c for c, p in zip(curves, plans) if not p.turn], [c for c, p in zip(curves, plans) if p.turn],
                sum(side is None for side in sides))


@dataclass(frozen=True)
class _Plan:
    kind: str
    atoms: tuple[int, int]
    length: float
    at: np.ndarray  # (K,)
    origin: int
    positions: np.ndarray  # (K, N, 3)
    turn: bool

    def curve(self, energy: np.ndarray) -> Curve:
        return Curve(self.kind, self.atoms, self.length, self.at, energy, self.origin)


def _around(shortest: float, longest: float, step: float) -> np.ndarray:
    """Lengths from the shortest to the longest, with exactly 1 among them."""
    below, above = (round(abs(end - 1) / step, 9) for end in (shortest, longest))
    return 1 + step * np.arange(-int(below), int(above) + 1)


def _stretched(atoms: ase.Atoms, pair: tuple[int, int], kind: str, side: np.ndarray, at: np.ndarray) -> _Plan:
    anchor, moved = (pair[1], pair[0]) if side[pair[0]] else pair
    bond = atoms.positions[moved] - atoms.positions[anchor]
    positions = atoms.positions + (at - 1)[:, None, None] * np.where(side[:, None], bond, 0.0)
    origin = int(abs(at - 1).argmin())
    radii = np.nan_to_num(covalent_radii[atoms.numbers], nan=1.5)
    sums = radii[:, None] + radii
    foreign = side[:, None] & ~side[None]
    foreign[moved, anchor] = False
    end = origin
    for k in range(origin + 1, len(at)):
        near = get_distances(positions[k])[1] / sums
        if (near[foreign] < near[moved, anchor]).any():
            break
        end = k
    length = float(np.linalg.norm(bond))
    return _Plan(kind, pair, length, at[: end + 1], origin, positions[: end + 1], turn=False)


def _turned(atoms: ase.Atoms, pair: tuple[int, int], kind: str, side: np.ndarray, degrees: float) -> _Plan:
    half = int(round(180 / degrees, 9))
    at = degrees * np.arange(-half, half + 1)
    axis = atoms.positions[pair[1]] - atoms.positions[pair[0]]
    frames = []
    for angle in at:
        turned = atoms.copy()
        turned.set_constraint()
        turned.rotate(float(angle), axis, center=atoms.positions[pair[0]])
        frames.append(np.where(side[:, None], turned.positions, atoms.positions))
    return _Plan(kind, pair, float(np.linalg.norm(axis)), at, half, np.stack(frames), turn=True)


def _energies(model: Model, start: ase.Atoms, plans: Sequence[np.ndarray],
              progress: Callable[[int, int], None] | None) -> list[np.ndarray]:
    """Energies in eV above the relaxed structure, for several arrays of positions (K, N, 3)."""
    potential = Potential(model, skin=0.0)
    zero = float(potential.energy(batch_of(model, [start]))[0])
    if not np.isfinite(zero):
        raise StructureError(f"the energy of {start.get_chemical_formula()} is not finite. "
                             "Fix: check the structure, or choose another model.")
    positions = np.concatenate(list(plans)) if plans else np.zeros((0, len(start), 3))
    energy = np.full(len(positions), np.nan)
    apart = [get_distances(p)[1][np.triu_indices(len(start), 1)].min() for p in positions]
    some = np.flatnonzero(np.array(apart) >= MIN_DISTANCE)
    size = max(1, _MAX_ATOMS // len(start))
    for begin in range(0, len(some), size):
        part = some[begin : begin + size]
        frames = []
        for k in part:
            frame = start.copy()
            frame.set_positions(positions[k], apply_constraint=False)
            frames.append(frame)
        found = potential.energy(batch_of(model, frames)).cpu().numpy() - zero
        energy[part] = np.where(np.isfinite(found), found, np.nan)
        if progress is not None:
            progress(begin + len(part), len(some))
    return np.split(energy, np.cumsum([len(plan) for plan in plans])[:-1])


def _worst(curves: Sequence[Curve]) -> dict[str, Any]:
    lengths, spans = [c.length for c in curves], [c.rises() for c in curves]
    return {
        "bonds": len(curves), "length_A": [round(min(lengths), 3), round(max(lengths), 3)],
        "rises": [round(max(low for low, _ in spans), 4), round(min(high for _, high in spans), 4)],
        "scanned": [round(max(float(c.at[0]) for c in curves), 4), round(min(float(c.at[-1]) for c in curves), 4)],
        **_extremes(curves),
    }


def _extremes(curves: Sequence[Curve]) -> dict[str, Any]:
    deepest = min(curves, key=lambda c: c.lowest)
    place = float(deepest.at[int(np.nanargmin(deepest.energy))])
    return {"highest_eV": float(f"{max(c.highest for c in curves):.4g}"),
            "lowest_eV": float(f"{deepest.lowest:.4g}") + 0.0, "lowest_at": round(place, 4),
            "hole": deepest.lowest < HOLE}
