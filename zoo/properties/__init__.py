"""What is measured with a potential: equation of state, phonons, vibrations, energy scans, drift, stability, coverage.

Each file is one measurement; start with ``volume_curve.py``, which is short.
"""

from zoo.properties.bonds import Bonds
from zoo.properties.coverage import CoverageMonitor, training_coverage
from zoo.properties.drift import energy_drift
from zoo.properties.energy_scan import Scan, scan
from zoo.properties.lattice_dynamics import Phonons, phonons
from zoo.properties.normal_modes import hessian, vibrations
from zoo.properties.primitive import primitive_cell
from zoo.properties.stable_time import stability
from zoo.properties.volume_curve import equation_of_state

__all__ = ["Bonds", "CoverageMonitor", "Phonons", "Scan", "energy_drift", "equation_of_state", "hessian", "phonons",
           "primitive_cell", "scan", "stability", "training_coverage", "vibrations"]
