"""The readouts that come with the zoo by the name that a card uses. Plugins add theirs by the hook ``zoo_readouts``."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.model.atomic_readouts import AtomicScalar, CartesianTensor, Charges
from zoo.model.readouts import Dipole, Energy, Intensive, Polarizability, Readout, SpatialExtent, Vector

__all__ = ["READOUTS"]

READOUTS: Mapping[str, type[Readout]] = {
    "atomic_scalar": AtomicScalar,
    "charges": Charges,
    "dipole": Dipole,
    "energy": Energy,
    "intensive": Intensive,
    "polarizability": Polarizability,
    "spatial_extent": SpatialExtent,
    "tensor": CartesianTensor,
    "vector": Vector,
}
