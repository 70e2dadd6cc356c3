"""Bonds of a structure, and their lengths during a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
import torch
from ase.data import chemical_symbols, covalent_radii
from torch import Tensor

from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges, edge_vectors

__all__ = ["STRETCH", "Bonds", "kind_of"]

STRETCH = 1.25
"""Atoms nearer than this many sums of their covalent radii (Cordero et al. 2008) are bonded."""


@dataclass(frozen=True)
class Bonds:
    """Bonds i–j of one structure, identified by atom indices and periodic image.

    A hydrogen of a molecule may move to another atom of the same element, as in proton transfer between two oxygens:
    its bond length is the distance to the nearest of these atoms.

    Attributes:
        first, second: (M,) atoms i and j; a hydrogen comes first.
        shift: (M, 3) Å, lattice translation added to the position of atom j.
        kinds: ``"C-H"`` and the like, symbols in alphabetical order.
        equilibrium: (M,) Å, lengths in the structure that the bonds were determined in.
        partners: (M, r) atoms that a hydrogen i may be bonded to, including j; padded with j.
    """

    first: Tensor
    second: Tensor
    shift: Tensor
    kinds: tuple[str, ...]
    equilibrium: Tensor
    partners: Tensor

    @classmethod
    def of(cls, atoms: ase.Atoms, *, stretch: float = STRETCH) -> Bonds:
        """Find bonds: pairs closer than ``stretch`` times the sum of their covalent radii."""
        z = atoms.numbers
        radius = torch.from_numpy(np.nan_to_num(covalent_radii[z], nan=1.5))
        graph = Graph.from_atoms(atoms, dtype=torch.float64)
        graph = add_edges(graph, 2 * stretch * float(radius.max()))
        i, j = graph.target, graph.source
        vec = edge_vectors(graph, graph.pos, graph.cell)
        length = vec.norm(dim=1)
        # Hydrogen first, each pair once; a periodic pair of the same atom by the sign of its vector.
        hydrogen = torch.from_numpy(z == 1)
        forward = torch.where(hydrogen[i] != hydrogen[j], hydrogen[i], i < j)
        positive = (vec[:, 0] > 0) | ((vec[:, 0] == 0) & ((vec[:, 1] > 0) | ((vec[:, 1] == 0) & (vec[:, 2] > 0))))
        keep = (length < stretch * (radius[i] + radius[j])) & torch.where(i == j, positive, forward)
        i, j, vec, length = i[keep], j[keep], vec[keep], length[keep]
        shift = vec - (graph.pos[j] - graph.pos[i])
        kinds = tuple(kind_of(z[a], z[b]) for a, b in zip(i.tolist(), j.tolist()))
        return cls(i, j, shift, kinds, length, _partners(z, i, j, molecule=not atoms.pbc.any()))

    def lengths(self, pos: Tensor) -> Tensor:
        """(R, M) Å of R copies of the structure, from their positions (R, N, 3)."""
        start = pos[:, self.first]
        to = pos[:, self.partners] + self.shift[:, None]
        return (to - start[:, :, None]).norm(dim=3).min(dim=2).values

    def by_kind(self, lengths: np.ndarray) -> dict[str, np.ndarray]:
        """Lengths (…, M) as one flat array for each kind of bond."""
        kinds = np.array(self.kinds)
        return {kind: lengths[..., kinds == kind].reshape(-1) for kind in sorted(set(self.kinds))}

    def to(self, device: torch.device) -> Bonds:
        moved = (x.to(device) for x in (self.first, self.second, self.shift, self.equilibrium, self.partners))
        first, second, shift, equilibrium, partners = moved
        return Bonds(first, second, shift, self.kinds, equilibrium, partners)


def kind_of(a: int, b: int) -> str:
    """``"C-H"`` from two atomic numbers, in either order."""
    return "-".join(sorted((chemical_symbols[a], chemical_symbols[b])))


def _partners(z: np.ndarray, first: Tensor, second: Tensor, *, molecule: bool) -> Tensor:
    lists: list[Sequence[int]] = []
    for i, j in zip(first.tolist(), second.tolist()):
        swaps = molecule and z[i] == 1 and z[j] != 1
        lists.append(np.flatnonzero(z == z[j]).tolist() if swaps else [j])
    width = max((len(row) for row in lists), default=1)
    return torch.tensor([[*row, *[row[0]] * (width - len(row))] for row in lists], dtype=torch.long).reshape(-1, width)
