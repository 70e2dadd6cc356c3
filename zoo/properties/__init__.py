"""What is measured with a potential: equation of state, Delta test, phonons, vibrations, scans, drift and others.

Each file is one measurement; start with ``volume_curve.py``, which is short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.properties.bonds import Bonds
    from zoo.properties.coverage import CoverageMonitor, training_coverage
    from zoo.properties.drift import energy_drift
    from zoo.properties.elemental_crystals import DeltaTest, delta_test
    from zoo.properties.energy_scan import Scan, scan
    from zoo.properties.lattice_dynamics import Phonons, phonons
    from zoo.properties.normal_modes import hessian, vibrations
    from zoo.properties.primitive import primitive_cell
    from zoo.properties.stable_time import stability
    from zoo.properties.volume_curve import equation_of_state

__all__ = ["Bonds", "CoverageMonitor", "DeltaTest", "Phonons", "Scan", "delta_test", "energy_drift",
           "equation_of_state", "hessian", "phonons", "primitive_cell", "scan", "stability", "training_coverage",
           "vibrations"]

__getattr__ = lazy_names(__name__, {
    "Bonds": "bonds", "CoverageMonitor": "coverage", "DeltaTest": "elemental_crystals",
    "delta_test": "elemental_crystals", "energy_drift": "drift", "equation_of_state": "volume_curve",
    "hessian": "normal_modes", "Phonons": "lattice_dynamics", "phonons": "lattice_dynamics",
    "primitive_cell": "primitive", "Scan": "energy_scan", "scan": "energy_scan", "stability": "stable_time",
    "training_coverage": "coverage", "vibrations": "normal_modes",
})
