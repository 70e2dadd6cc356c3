"""Molecular dynamics, relaxation and reaction paths of many structures in one batch; restart files, trajectories.

Start with ``dynamics.py``.
"""

from zoo.simulation.dynamics import Dynamics
from zoo.simulation.elastic_band import ReactionPath, reaction_path
from zoo.simulation.relaxation import relax

__all__ = ["Dynamics", "ReactionPath", "reaction_path", "relax"]
