"""Molecular dynamics and relaxation of many structures in one batch, with restart files and trajectories.

Start with ``dynamics.py``.
"""

from zoo.simulation.dynamics import Dynamics
from zoo.simulation.relaxation import relax

__all__ = ["Dynamics", "relax"]
