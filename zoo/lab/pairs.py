"""Counter-example pairs: structures that a given body order cannot distinguish, with their bonds as edges.

After S. N. Pozdnyakov, M. J. Willatt, A. P. Bartók, C. Ortner, G. Csányi, M. Ceriotti, *Incompleteness of Atomic
Structure Representations*, Phys. Rev. Lett. 125, 166001 (2020), and C. K. Joshi, C. Bodnar, S. V. Mathis, T. Cohen,
P. Liò, *On the Expressive Power of Geometric Graph Neural Networks*, ICML 2023, arXiv:2301.09308. Degeneracy is
computed in :mod:`zoo.lab.degeneracy`.

Most pairs are stars: bonds of one length from a centre to neighbours without bonds between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.graph.graph import Graph

__all__ = ["BOND", "CUTOFF", "NETWORK_CUTOFF", "Pair", "bonded", "direction", "pairs", "star"]

BOND = 1.5
"""Å, length of every bond."""

CUTOFF = 1.8
"""Å; bonded atoms are closer than this, and in a ``natural`` pair no others are."""

NETWORK_CUTOFF = 3.0
"""Å, cut-off of the networks. Edges are the given bonds in any case; far inside the cut-off the envelope does not
reduce the messages, and margins are large."""

C, H, N, O, F = 6, 1, 7, 8, 9


@dataclass(frozen=True, eq=False)
class Pair:
    """Two different structures, and the descriptors that do not distinguish them.

    Attributes:
        name: short, for columns and options.
        degenerate: descriptors of atom-centred environments up to this body order are equal (an atom and all sets of
            ``degenerate`` − 1 of its neighbours, distances and angles included); ``None`` means of every order.
        definition: what the two are.
        a, b: one structure each, float64, with the bonds as edges.
        natural: the bonds are all pairs closer than ``CUTOFF``.
        mirror: b is the mirror image of a, and only parity-odd features may differ.
    """

    name: str
    degenerate: int | None
    definition: str
    a: Graph
    b: Graph
    natural: bool = True
    mirror: bool = False


def pairs() -> list[Pair]:
    """All pairs, ordered by the body order that distinguishes them."""
    return [two_body(), three_body(), three_lines(), torsion(), four_body(), mirror_images()]


def two_body() -> Pair:
    """Degenerate for distances: two neighbours at 90° or 120°."""
    angles = (90.0, 120.0)
    a, b = (star([C, H, H], [direction(0, 0), direction(0, angle)]) for angle in angles)
    return Pair("distances", 2, "an atom with two bonds of one length, at 90° or 120°", a, b)


def three_body() -> Pair:
    """Degenerate for distances and angles around the centre (the construction behind Pozdnyakov et al., Fig. 2).

    Three neighbours p₊, p₀, p₋ at heights +h, 0, −h over a plane, and a fourth on the axis above (a) or below (b) it.
    Reflecting the plane turns the angles of the fourth into each other, {θ, 90°, π − θ}, and the others stay. No
    rotation around the axis swaps p₊ and p₋ and keeps p₀, unless p₀ stands half-way between them.
    """
    triangle = [direction(14, 0), direction(0, 100), direction(-14, 210)]
    a, b = (star([C, H, H, H, H], [*triangle, direction(pole, 0)]) for pole in (90, -90))
    return Pair("angles", 3, "four neighbours with the same distances and the same six angles around the centre", a, b)


def three_lines() -> Pair:
    """Degenerate for distances and for the list of angles that *every bond* makes with the others.

    Neighbours ±a, ±b, ±c on three lines through the centre, each two lines at |cos| = p. Every bond sees 180°, and
    twice each of arccos p and arccos(−p). The sign of (a·b)(b·c)(c·a) does not depend on the signs of a, b, c, and is
    + or −: the squared volumes det Gram = 1 − 3p² ± 2p³ they span differ. The inversion maps each star onto itself.
    """
    lines = [_lines(0.25, sign) for sign in (1, -1)]
    a, b = (star([C, *[H] * 6], [v for line in three for v in (line, -line)]) for three in lines)
    return Pair("lines", 3, "six neighbours on three lines that meet pairwise at 75.5°, in two ways", a, b)


def torsion() -> Pair:
    """Degenerate for every descriptor of an atom's own neighbours: a bent chain at dihedral 60° or 150°."""
    a, b = (_bent(120, dihedral) for dihedral in (60, 150))
    return Pair("torsion", None, "a chain of four atoms, bond angles 120°, at dihedral 60° or 150°", a, b)


def four_body() -> Pair:
    """Degenerate for the centre with any three neighbours, tetrahedra around the centre included.

    Three neighbours P on a circle at height +h and three Q on one at −h, Q being P turned by 40°, and a seventh on the
    axis above (a) or below (b). The six are the same in both. A set with the seventh holds two of the six at most, and
    is known by their heights and by the angle between them around the axis: reflecting the plane swaps P and Q, whose
    inner angles agree because they are congruent, and whose mutual angles are swapped as pairs. But nothing maps P to Q
    *and* Q to P, since P is scalene.
    """
    azimuth, height = (0.0, 80.0, 190.0), 20.0
    six = [direction(height, phi) for phi in azimuth] + [direction(-height, phi + 40) for phi in azimuth]
    a, b = (star([C, *[H] * 7], [*six, direction(pole, 0)]) for pole in (90, -90))
    definition = "seven neighbours; centre and any three of them make the same 35 tetrahedra"
    return Pair("tetrahedra", 4, definition, a, b, natural=False)


def mirror_images() -> Pair:
    """A tetrahedral atom with four different neighbours, like CHFClBr, and its mirror image."""
    corners = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64).unbind(0)
    a = star([C, H, N, O, F], corners)
    b = star([C, H, N, O, F], [v * torch.tensor([-1.0, 1.0, 1.0]) for v in corners])
    return Pair("chirality", None, "an atom with four different neighbours, and its mirror image", a, b, mirror=True)


def star(z: Sequence[int], directions: Sequence[Tensor]) -> Graph:
    """A centre and neighbours at distance ``BOND`` in the given directions, bonded only to the centre."""
    pos = torch.stack([torch.zeros(3, dtype=torch.float64), *(BOND * v / v.norm() for v in directions)])
    return bonded(z, pos, [(0, k) for k in range(1, len(z))])


def _bent(angle: float, dihedral: float) -> Graph:
    """Four carbon atoms in a chain, both bond angles and the dihedral in degrees."""
    out, up = math.cos(math.radians(180 - angle)) * BOND, math.sin(math.radians(180 - angle)) * BOND
    phi = math.radians(dihedral)
    ends = [[-out, up, 0.0], [BOND + out, up * math.cos(phi), up * math.sin(phi)]]
    pos = torch.tensor([ends[0], [0.0, 0.0, 0.0], [BOND, 0.0, 0.0], ends[1]], dtype=torch.float64)
    return bonded([C] * 4, pos, [(0, 1), (1, 2), (2, 3)])


def bonded(z: Sequence[int], pos: Tensor, bonds: Sequence[tuple[int, int]]) -> Graph:
    """One structure of atoms z at pos (N, 3) with the given bonds as edges, in both directions."""
    one_way = torch.tensor(bonds).T
    return Graph.from_tensors(torch.tensor(z), pos).with_edges(torch.cat([one_way, one_way.flip(0)], 1))


def direction(latitude: float, longitude: float) -> Tensor:
    """Unit vector from latitude above the xy plane and longitude around z, in degrees."""
    theta, phi = math.radians(latitude), math.radians(longitude)
    return torch.tensor(
        [math.cos(theta) * math.cos(phi), math.cos(theta) * math.sin(phi), math.sin(theta)], dtype=torch.float64
    )


def _lines(p: float, sign: int) -> Tensor:
    """Three unit vectors (3, 3) with products p, p and sign·p: rows of the Cholesky factor of their Gram matrix."""
    gram = torch.tensor([[1, p, p], [p, 1, sign * p], [p, sign * p, 1]], dtype=torch.float64)
    return torch.linalg.cholesky(gram)
