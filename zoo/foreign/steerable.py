"""Irreps and paths of one interaction layer, as the packages built on e3nn lay their weights out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.errors import WeightsError

__all__ = ["Irreps", "Layer", "O3Irrep", "blocks", "natural"]


class O3Irrep(NamedTuple):
    """Sorts as e3nn's: 0o, 0e, 1o, 1e, 2o, …"""

    l: int
    p: int

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.p == 1 else 'o'}"


Irreps = dict[O3Irrep, int]
"""Ordered: channels of each irrep."""


def natural(l: int) -> O3Irrep:
    """The irrep of degree l with the parity of the harmonic; under SO(3), where parity has no meaning, the only one."""
    return O3Irrep(l, (-1) ** l)


class Coupling(NamedTuple):
    """One coupling source ⊗ Y_l → target."""

    source: O3Irrep
    l: int
    target: O3Irrep


@dataclass(frozen=True)
class Layer:
    """Irreps that enter a layer and those that leave its gate, the highest degree of the harmonics, and whether
    irreps couple by rotations alone."""

    irreps_in: Irreps
    irreps_out: Irreps
    lmax: int
    so3: bool = False

    @property
    def gated(self) -> Irreps:
        return {irrep: mul for irrep, mul in self.irreps_out.items() if irrep.l > 0}

    @property
    def before_gate(self) -> Irreps:
        """The even scalars hold the layer's own first, then one gate per channel of each gated irrep."""
        scalars = self.irreps_out.get(natural(0), 0) + sum(self.gated.values())
        return self.irreps_out | {natural(0): scalars}

    def products(self, source: O3Irrep) -> list[Coupling]:
        """With Y_0 … Y_lmax, by degree of the harmonic, then of the product."""
        pairs = [(l, l3) for l in range(self.lmax + 1) for l3 in range(abs(source.l - l), source.l + l + 1)]
        return [Coupling(source, l, natural(l3) if self.so3 else O3Irrep(l3, source.p * (-1) ** l)) for l, l3 in pairs]

    @property
    def paths(self) -> list[Coupling]:
        """Every tensor-product path, in the order of the zoo's weights: by source, harmonic, target."""
        return [path for s in self.irreps_in for path in self.products(s) if path.target in self.before_gate]

    @property
    def middle(self) -> Irreps:
        """Channels between the tensor product and the linear map after it."""
        return {t: sum(self.irreps_in[s] for s, _, to in self.paths if to == t) for t in sorted(self.before_gate)}

    def columns(self) -> list[Tensor]:
        """Numbers of each path's columns in a matrix of radial weights."""
        return list(torch.arange(self.num_weights).split([self.irreps_in[path.source] for path in self.paths]))

    @property
    def num_weights(self) -> int:
        return sum(self.irreps_in[path.source] for path in self.paths)

    def columns_by_target(self) -> Tensor:
        """For each column of the zoo's, its number where paths are sorted by target, as newer packages do."""
        columns, order = self.columns(), sorted(range(len(self.paths)), key=lambda n: self.paths[n].target)
        return torch.argsort(torch.cat([columns[n] for n in order]))


def blocks(flat: Tensor, shapes: Mapping[O3Irrep, tuple[int, ...]], what: str, fix: str) -> dict[O3Irrep, Tensor]:
    """e3nn's flat weights as one block per irrep, in the given order.

    Raises:
        WeightsError: there are more or fewer of them.
    """
    sizes = [math.prod(shape) for shape in shapes.values()]
    if sum(sizes) != flat.numel():
        raise mismatch(what, flat.numel(), sum(sizes), fix)
    return {irrep: part.view(shapes[irrep]) for irrep, part in zip(shapes, flat.split(sizes))}


def mismatch(what: str, found: int, expected: int, fix: str) -> WeightsError:
    return WeightsError(f"{what} has {found} weights, and the configuration asks for {expected}. {fix}")
