"""Dense tables of the edges that meet in each atom: sums over angles and torsions become batched matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["NeighborTable", "NeighborTables", "TorsionTable", "TorsionTables"]


@dataclass(frozen=True, eq=False)
class NeighborTable:
    """Incoming edges of A atoms of similar degree as one table of K slots.

    Attributes:
        row: (A, K) int64, the edge in each slot, as a position in ``NeighborTables.edge``; an unused slot repeats
            some used one.
        used: (A, K) bool.
    """

    row: Tensor
    used: Tensor

    @property
    def pairs(self) -> Tensor:
        """(A, K, K) bool: both slots are used, and are two different edges."""
        different = ~torch.eye(self.row.shape[1], dtype=torch.bool, device=self.row.device)
        return self.used[:, :, None] & self.used[:, None, :] & different


@dataclass(frozen=True, eq=False)
class NeighborTables:
    """The incoming edges of all atoms, cut into a few dense tables: sums over angles become batched matrix products.

    Two edges with the same target span an angle there, and all such pairs of an atom are a K × K block; so a sum over
    triplets needs no list of triplets and no gather of T rows.

    Attributes:
        tables: one per group of atoms with similar degree; empty when no edge takes part.
        edge: (E',) int64, the edges that take part, ascending.
        slot: (E',) int64, place of each of them in the concatenation of all tables, flattened.
    """

    tables: tuple[NeighborTable, ...]
    edge: Tensor
    slot: Tensor


@dataclass(frozen=True, eq=False)
class TorsionTable:
    """A atoms of one table with their ends (K slots) and axes (M slots).

    Attributes:
        pairs: (A, K, M) bool: both slots are used and hold different edges.
        closing: (A, K, M) int64, for an end c→a and an axis b→a: place of the pair (axis a→b, end c→b) in the
            concatenation of all tables seen as (A, M, K), flattened; 0 where there is none.
        closed: (A, K, M) bool: there is one, so that c, a and b form a triangle.
    """

    pairs: Tensor
    closing: Tensor
    closed: Tensor


@dataclass(frozen=True, eq=False)
class TorsionTables:
    """The edges that torsions c→a–b←d are built from: ends c→a and axes b→a into the same atom.

    At the other end of the axis, b, the same tables hold its reverse a→b and the ends d→b. So two sums over pairs of
    edges, at b and at a, make a sum over quadruplets. Only d = c has to be taken out again: ``closing`` finds it.

    Attributes:
        ends, axes: tables of the same atoms; some may have no slot.
        tables: one per table of atoms.
        opposite: (number of axes,) slot of the reverse of each axis, in the tables of axes.
    """

    ends: NeighborTables
    axes: NeighborTables
    tables: tuple[TorsionTable, ...]
    opposite: Tensor
