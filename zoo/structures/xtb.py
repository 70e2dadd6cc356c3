"""The minimum of GFN2-xTB nearest to a geometry (tblite)."""

from __future__ import annotations

import ase
import numpy as np

from zoo.errors import MissingExtraError, StructureError
from zoo.structures.conformers import Minimum

__all__ = ["xtb_minimum"]

FORCE = 0.01  # eV/Å
STEPS = 500


def xtb_minimum(numbers: np.ndarray, positions: np.ndarray) -> Minimum:
    """Relax a neutral closed-shell molecule with GFN2-xTB until no force exceeds 0.01 eV/Å.

    Args:
        numbers: (n,) atomic numbers.
        positions: (n, 3), Å.

    Raises:
        MissingExtraError: tblite is not installed.
        StructureError: the self-consistent field or the relaxation does not converge.
    """
    try:
        from tblite.ase import TBLite
    except ImportError:
        raise MissingExtraError("GFN2-xTB", "xtb") from None
    from ase.calculators.calculator import CalculationFailed
    from ase.optimize import BFGS

    atoms = ase.Atoms(numbers, positions=positions, calculator=TBLite(method="GFN2-xTB", verbosity=0))
    try:
        converged = BFGS(atoms, logfile=None).run(fmax=FORCE, steps=STEPS)
        energy = atoms.get_potential_energy()
    except (RuntimeError, CalculationFailed) as error:
        raise StructureError(f"GFN2-xTB fails: {error}. Fix: start from another geometry.") from error
    if not converged:
        raise StructureError(f"GFN2-xTB does not converge in {STEPS} steps. Fix: start from another geometry.")
    return Minimum(atoms.get_positions(), float(energy))
