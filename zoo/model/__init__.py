"""The model: neighbour list → backbone → readouts → forces and stress, with physical priors added to the energy.

Start with ``model.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.model.model import Model
    from zoo.model.priors import Prior
    from zoo.model.readouts import Readout

__all__ = ["Model", "Prior", "Readout"]

__getattr__ = lazy_names(__name__, {"Model": "model", "Prior": "priors", "Readout": "readouts"})
