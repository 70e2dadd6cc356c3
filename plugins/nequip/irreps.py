"""Which irreps each layer holds: paths of the tensor product, and what can be reached from the input or matter to the
output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

__all__ = ["Group", "Irrep", "Multiplicities", "Path", "layer_irreps", "paths"]

Group = Literal["O3", "SO3"]
"""Rotations with or without reflections: under SO(3) parity has no meaning, and more irreps couple."""


class Irrep(NamedTuple):
    """Irrep of O(3) of degree ``l`` and parity ``p`` (±1), of dimension 2l + 1. Under SO(3), p is always (−1)^l."""

    l: int
    p: int

    @property
    def dim(self) -> int:
        return 2 * self.l + 1

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.p == 1 else 'o'}"

    def times_harmonic(self, l: int, group: Group) -> list[Irrep]:
        """The irreps in the product with the spherical harmonic of degree l, by increasing degree."""
        degrees = range(abs(self.l - l), self.l + l + 1)
        return [Irrep(l3, (-1) ** l3 if group == "SO3" else self.p * (-1) ** l) for l3 in degrees]


Multiplicities = dict[Irrep, int]
"""Ordered: channels of each irrep."""


class Path(NamedTuple):
    """One coupling source ⊗ Y_l → target of the tensor product."""

    source: Irrep
    l: int
    target: Irrep


def paths(sources: Iterable[Irrep], targets: Iterable[Irrep], lmax: int, group: Group = "O3") -> list[Path]:
    """All couplings of ``sources`` with harmonics up to ``lmax`` into ``targets``, by source, harmonic, target."""
    targets = set(targets)
    return [
        Path(source, l, target)
        for source in sources
        for l in range(lmax + 1)
        for target in source.times_harmonic(l, group)
        if target in targets
    ]


def layer_irreps(
    num_features: Sequence[int],
    *,
    num_layers: int,
    lmax: int,
    parity: bool,
    output_lmax: int,
    output_parity: bool = False,
    group: Group = "O3",
) -> list[Multiplicities]:
    """Features before the first layer, and after each of ``num_layers``.

    Hidden layers hold ``num_features[l]`` channels of degree l ≤ ``lmax``, of both parities if ``parity``, else of the
    harmonics' own (−1)^l; the last layer holds degrees up to ``output_lmax`` of the harmonics' parity, or of both if
    ``output_parity``. Irreps that no path reaches from the scalar input, and those from which no path leads to the
    output, are left out: the function computed is the same without them.
    """
    both = [Irrep(l, p) for l in range(lmax + 1) for p in (1, -1)]
    natural = [Irrep(l, (-1) ** l) for l in range(lmax + 1)]
    last = [irrep for irrep in (both if output_parity else natural) if irrep.l <= output_lmax]
    wanted = [both if parity else natural] * (num_layers - 1) + [last]
    held = [[Irrep(0, 1)]]
    for irreps in wanted:
        reached = {path.target for path in paths(held[-1], irreps, lmax, group)}
        held.append([irrep for irrep in irreps if irrep in reached])
    for k in range(num_layers - 1, 0, -1):
        useful = {path.source for path in paths(held[k], held[k + 1], lmax, group)}
        held[k] = [irrep for irrep in held[k] if irrep in useful]
    return [{irrep: num_features[irrep.l] for irrep in irreps} for irreps in held]
