"""Simulations with a model's energies and forces, and measurements of how well it bears them."""

from zoo.simulation.dynamics import Dynamics
from zoo.simulation.relaxation import relax

__all__ = ["Dynamics", "relax"]
