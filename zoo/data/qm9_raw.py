"""QM9 as read from one of its sources, before it becomes a store."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["RawQM9"]


@dataclass(frozen=True)
class RawQM9:
    """QM9 as read: gdb (M,), n_atoms (M,), z (A,), pos (A, 3) float32, values of each target (M,) float64.

    ``notes`` says what a source does not hold exactly.
    """

    gdb: np.ndarray
    n_atoms: np.ndarray
    z: np.ndarray
    pos: np.ndarray
    values: dict[str, np.ndarray]
    source: str
    notes: dict[str, str] = field(default_factory=dict)
