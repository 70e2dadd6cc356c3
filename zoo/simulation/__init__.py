"""Atoms that move: molecular dynamics and relaxation of many structures in one batch, restarts, trajectories.

Start with ``dynamics.py``.
"""

from zoo.simulation.dynamics import Dynamics
from zoo.simulation.relaxation import relax

__all__ = ["Dynamics", "relax"]
