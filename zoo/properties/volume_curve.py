"""Lattice constant and bulk modulus of a crystal, from an equation of state."""

from __future__ import annotations

from typing import Any

import ase
import ase.units
import numpy as np
from ase.eos import EquationOfState

from zoo.errors import StructureError, ZooError
from zoo.inference.prediction import predict
from zoo.model.model import Model
from zoo.units import factor

__all__ = ["equation_of_state"]

_ROUNDS = 10


def equation_of_state(model: Model, atoms: ase.Atoms, *, strain: float = 0.03, points: int = 11) -> dict[str, Any]:
    """Birch–Murnaghan fit to energies at volumes around the minimum, computed in one batch.

    The cell is scaled isotropically at fixed fractional coordinates, which is valid if symmetry fixes both, as in the
    diamond, rock-salt and close-packed structures. The range of volumes is shifted until the minimum is in its middle.

    Args:
        strain: largest relative change of the lattice constant. points: number of volumes.

    Returns:
        Plain data: ``lattice_A`` (lengths of the three lattice vectors of this cell), ``volume_A3_per_atom``,
        ``energy_eV_per_atom``, ``bulk_modulus_GPa``.

    Raises:
        StructureError: not a crystal, or no minimum near it.
        ZooError: the model has no energy.
    """
    if not atoms.pbc.all():
        raise StructureError("an equation of state needs a structure that is periodic in three dimensions. "
                             "Fix: set atoms.cell and atoms.pbc = True.")
    target = model.energy_target
    if target is None:
        raise ZooError(f"an equation of state needs an energy, and the targets are {', '.join(model.readouts)}. "
                       "Fix: choose a model with an energy target.")
    scale = 1.0
    for _ in range(_ROUNDS):
        stretches = scale * np.linspace(1 - strain, 1 + strain, points)
        cells = [_scaled(atoms, stretch) for stretch in stretches]
        energies = np.array([result[target] for result in predict(model, cells)]) * factor(model.units[target], "eV")
        lowest = int(energies.argmin())
        if lowest in (0, points - 1):
            scale = float(stretches[lowest])
            continue
        volumes = np.array([cell.get_volume() for cell in cells])
        v0, e0, bulk = EquationOfState(volumes, energies, eos="birchmurnaghan").fit(warn=False)
        found = float(np.cbrt(v0 / atoms.get_volume()))
        if abs(found / scale - 1) < 0.2 * strain:
            return {
                "structure": atoms.get_chemical_formula(), "equation": "Birch–Murnaghan",
                "lattice_A": [round(float(found * length), 4) for length in atoms.cell.lengths()],
                "volume_A3_per_atom": round(float(v0) / len(atoms), 4),
                "energy_eV_per_atom": round(float(e0) / len(atoms), 6),
                "bulk_modulus_GPa": round(float(bulk / ase.units.GPa), 2),
            }
        scale = found
    raise StructureError(f"no minimum of the energy within {abs(scale - 1):.0%} of the lattice constant given. "
                         "Fix: start nearer to the minimum, or give a larger strain.")


def _scaled(atoms: ase.Atoms, stretch: float) -> ase.Atoms:
    cell = atoms.copy()
    cell.set_cell(atoms.cell * stretch, scale_atoms=True)
    return cell
