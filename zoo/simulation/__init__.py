"""Simulations with a model's energies and forces, and measurements of how well it bears them."""

from zoo.simulation.bonds import Bonds
from zoo.simulation.conservation import energy_drift
from zoo.simulation.crystal import equation_of_state
from zoo.simulation.dynamics import Dynamics
from zoo.simulation.phonons import Phonons, phonons
from zoo.simulation.primitive import primitive_cell
from zoo.simulation.reach import DomainWatch, training_reach
from zoo.simulation.relaxation import relax
from zoo.simulation.scan import Scan, scan
from zoo.simulation.stability import stability
from zoo.simulation.vibrations import hessian, vibrations

__all__ = ["Bonds", "DomainWatch", "Dynamics", "Phonons", "Scan", "energy_drift", "equation_of_state", "hessian",
           "phonons", "primitive_cell", "relax", "scan", "stability", "training_reach", "vibrations"]
