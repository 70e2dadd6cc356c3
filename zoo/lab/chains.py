"""k-chains: how many layers pass an orientation along a chain (Joshi et al. 2023, arXiv:2301.09308).

k atoms on a line, and one more at each end that points to the side. In one structure both point to the same side, in
the other to opposite sides. Every atom's neighbourhood is the same in both, up to a rotation; only directions that
are passed along the chain and meet distinguish them.
"""

from __future__ import annotations

import math

import torch

from zoo.graph.graph import Graph
from zoo.lab.pairs import BOND, Pair, bonded

__all__ = ["chains", "k_chain", "theory"]

_CARBON = 6


def chains(lengths: tuple[int, ...] = (2, 3, 4)) -> list[Pair]:
    """One pair for each k."""
    return [
        Pair(f"{k}-chain", None, f"{k} atoms on a line with ends that point to the same side, or to opposite ones",
             k_chain(k, 1), k_chain(k, -1))
        for k in lengths
    ]


def theory(k: int) -> int:
    """⌊k/2⌋ + 1 layers: the two directions meet half-way, and one more layer multiplies them."""
    return k // 2 + 1


def k_chain(k: int, side: int) -> Graph:
    """k carbon atoms on the x axis, ends at 120°; ``side`` = 1 puts both ends at +y, −1 one at −y."""
    out, up = BOND * math.cos(math.pi / 3), BOND * math.sin(math.pi / 3)
    line = [[BOND * i, 0.0, 0.0] for i in range(k)]
    pos = torch.tensor([[-out, up, 0.0], *line, [BOND * (k - 1) + out, side * up, 0.0]], dtype=torch.float64)
    return bonded([_CARBON] * (k + 2), pos, [(i, i + 1) for i in range(k + 1)])
