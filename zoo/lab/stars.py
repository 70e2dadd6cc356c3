"""n-fold stars: the degree l that resolves how a star is oriented (Joshi et al. 2023, arXiv:2301.09308, sec. 5).

n equal neighbours in a plane, at equal angles. A rotation by 2π/n around the axis changes nothing, so a feature of
degree l at the centre can hold only the orders m = 0 and |m| = n, 2n, …; the first of these that rotates with the star
needs l = n. Below it the features of the centre do not change under a rotation by π/n, for any number of layers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zoo.graph.graph import Graph
from zoo.lab.expressivity import SURE, together
from zoo.lab.pairs import star
from zoo.lab.probes import Probe, probe

__all__ = ["Orientation", "n_fold_star", "orientations"]

_HYDROGEN, _CARBON = 1, 6


@dataclass(frozen=True)
class Orientation:
    """Whether the features of a star's centre change under a rotation by π/n.

    Attributes:
        name: the network; its highest degree of features is ``lmax``.
        fold: n.
        difference: largest change of a component, relative to the features' root mean square; the largest over seeds.
        noise: the same for a rotation by 2π/n, which maps the star onto itself; at least float64's spacing.
    """

    name: str
    lmax: int
    fold: int
    difference: float
    noise: float

    @property
    def margin(self) -> float:
        return self.difference / self.noise

    @property
    def seen(self) -> bool:
        return self.margin > SURE

    @property
    def expected(self) -> bool:
        return self.lmax >= self.fold


def orientations(
    names: Iterable[str] = ("painn", "nequip"),
    *,
    folds: Sequence[int] = (2, 3, 5),
    degrees: Sequence[int] = (1, 2, 3, 4, 5),
    layers: int = 2,
    seeds: int = 2,
) -> list[Orientation]:
    """Every network on every star; a network with a keyword ``lmax`` at each of ``degrees``."""
    rows = []
    for name in names:
        found = probe(name)
        if found.takes("lmax"):
            for lmax in degrees:
                # Few channels: the cost grows with the sixth power of the degree.
                wide = {"lmax": lmax, "output_lmax": lmax, "num_features": 4, "parity": False, "output_parity": False}
                rows += _measured(found, folds, layers, seeds, {k: v for k, v in wide.items() if found.takes(k)})
        else:
            rows += _measured(found, folds, layers, seeds, {})
    return rows


def n_fold_star(fold: int, turn: float = 0.0) -> Graph:
    """A carbon atom with ``fold`` hydrogen atoms in the xy plane, turned by an angle in radians around z."""
    angles = [turn + 2 * math.pi * k / fold for k in range(fold)]
    directions = [torch.tensor([math.cos(a), math.sin(a), 0.0], dtype=torch.float64) for a in angles]
    return star([_CARBON, *[_HYDROGEN] * fold], directions)


def _measured(
    found: Probe, folds: Sequence[int], layers: int, seeds: int, changes: dict[str, Any]
) -> list[Orientation]:
    turns = [n_fold_star(n, part * math.pi / n) for n in folds for part in (0, 1, 2)]
    batch = together(turns)
    worst = [(0.0, 0.0)] * len(folds)
    for seed in range(1 if found.trained is not None else seeds):
        model = found.model(layers=layers, seed=seed, **changes)
        with torch.no_grad():
            centres = model.features(batch)[batch.ptr[:-1]].unflatten(0, (len(folds), 3))
        for k, (still, half, whole) in enumerate(centres):
            size = float(still.square().mean().sqrt())
            difference, noise = float((half - still).abs().max()) / size, float((whole - still).abs().max()) / size
            worst[k] = max(worst[k][0], difference), max(worst[k][1], noise, torch.finfo(torch.float64).eps)
    lmax = max(term.l for term in model.layout.terms)
    return [Orientation(found.name, lmax, n, *w) for n, w in zip(folds, worst)]
