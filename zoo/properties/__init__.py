"""What is measured with a potential: equation of state, phonons, vibrations, energy scans, drift, stability, coverage.

Each file is one measurement; start with ``equation_of_state.py``, which is short.
"""

from zoo.properties.bonds import Bonds
from zoo.properties.coverage import CoverageMonitor, training_coverage
from zoo.properties.drift import energy_drift
from zoo.properties.equation_of_state import equation_of_state
from zoo.properties.phonons import Phonons, phonons
from zoo.properties.primitive import primitive_cell
from zoo.properties.scan import Scan, scan
from zoo.properties.stability import stability
from zoo.properties.vibrations import hessian, vibrations

__all__ = ["Bonds", "CoverageMonitor", "Phonons", "Scan", "energy_drift", "equation_of_state", "hessian", "phonons",
           "primitive_cell", "scan", "stability", "training_coverage", "vibrations"]
