"""The tensor-product convolution, fused over neighbours so that no (E, large) tensor is kept or even made.

    mid_i = Σ_j Σ_paths w(d_ij) · C (x_j ⊗ Y(x_ij))          (Batzner et al. 2022, eq. 4; "uvu" couplings)

The Clebsch-Gordan tensor C does not depend on the edge, so it acts after the sum over neighbours
(:class:`.path_sums.PathSums`), on atoms instead of edges: mid_i[m3] = Σ_{m1 m2} C[m3, m2, m1] A_i[m2; m1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.nn import FusedOperation, Use, gather, sum_by

from .coupling import ExactConstants, coupling_matrix
from .irreps import Group, Irrep, Multiplicities, paths
from .neighbors import Neighbors
from .path_sums import PathColumns, PathSums, Plan

__all__ = ["Convolution", "Features"]

Features = dict[Irrep, Tensor]


class Convolution(ExactConstants, FusedOperation):
    """Σ over neighbours of weights × (features ⊗ harmonics), channel by channel: features → mid features.

    The mid features of an irrep are those of its paths, one after the other along the channels; ``num_weights`` is
    the number of radial weights an edge needs, path after path, and ``floats_per_slot`` the most numbers that an
    edge has in a product at a time. The fused form sums over the neighbours of a block of atoms at a time; the plain
    one goes edge by edge, which is what graph compilers take.
    """

    use = Use()

    def __init__(
        self, irreps_in: Multiplicities, irreps_out: Multiplicities, lmax: int, group: Group = "O3"
    ) -> None:
        self.paths = paths(irreps_in, irreps_out, lmax, group)
        couplings = {}
        for path in self.paths:
            l1, l3 = path.source.l, path.target.l
            matrix = coupling_matrix(l1, [(path.l, l3)], lmax)[path.l**2 : (path.l + 1) ** 2]
            couplings[f"c{l1}{path.l}{l3}"] = matrix.permute(1, 0, 2).flatten(1)
        super().__init__(**couplings)
        self.irreps_mid: Multiplicities = dict.fromkeys(irreps_out, 0)
        sources, own, column = list(irreps_in), [], 0
        for path in self.paths:
            self.irreps_mid[path.target] += irreps_in[path.source]
            own.append(PathColumns(sources.index(path.source), path.l, slice(column, column + irreps_in[path.source])))
            column += irreps_in[path.source]
        self.own_paths = tuple(own)
        self.num_weights = column
        self.floats_per_slot = max(irreps_in[path.source] * path.source.dim for path in self.paths)

    def forward(self, features: Features, weights: Tensor, neighbors: Neighbors) -> Features:
        """Features (N, 2l + 1, C) per irrep and ``weights`` (P, num_weights) → mid features (N, 2l + 1, C')."""
        form = self.fused if self.uses_fused(features, weights, neighbors) else self.plain
        return form(features, weights, neighbors)

    def numbers(self, features: Features, weights: Tensor, neighbors: Neighbors) -> int:
        return 0 if neighbors.blocks is None else max(1, neighbors.source.shape[0] * self.floats_per_slot)

    def fused(self, features: Features, weights: Tensor, neighbors: Neighbors) -> Features:
        assert neighbors.blocks is not None
        plan = Plan(self.own_paths, neighbors.blocks, neighbors.source, neighbors.pair)
        harmonics = neighbors.harmonics
        # The sums write into given memory, which autocast does not convert: they are taken in the harmonics' dtype.
        with torch.autocast(harmonics.device.type, enabled=False):
            operands = [x.to(harmonics.dtype) for x in (weights, *features.values())]
            return self._couple(PathSums.apply(plan, harmonics, *operands))

    def _couple(self, sums: tuple[Tensor, ...]) -> Features:
        parts: dict[Irrep, list[Tensor]] = {irrep: [] for irrep in self.irreps_mid}
        for path, total in zip(self.paths, sums):
            matrix = self._buffers[f"c{path.source.l}{path.l}{path.target.l}"]
            parts[path.target].append(torch.matmul(matrix, total.unflatten(2, (path.source.dim, -1)).flatten(1, 2)))
        return {irrep: torch.cat(part, 2) for irrep, part in parts.items()}

    def plain(self, features: Features, weights: Tensor, neighbors: Neighbors) -> Features:
        weights = gather(weights, neighbors.pair)
        parts: dict[Irrep, list[Tensor]] = {irrep: [] for irrep in self.irreps_mid}
        column = 0
        for path in self.paths:
            x = gather(features[path.source], neighbors.source)
            num_nodes, channels = features[path.source].shape[0], x.shape[2]
            y = neighbors.harmonics[:, path.l**2 : (path.l + 1) ** 2]
            matrix = self._buffers[f"c{path.source.l}{path.l}{path.target.l}"].unflatten(1, (y.shape[1], -1))
            # Not one einsum of three: its order of products depends on the number of edges, which a compiler would fix.
            coupled = (y @ matrix.transpose(0, 1).flatten(1)).unflatten(1, (-1, x.shape[1]))
            message = coupled @ x * weights[:, None, column : column + channels]
            column += channels
            parts[path.target].append(sum_by(message, neighbors.target, num_nodes))
        return {irrep: torch.cat(part, 2) for irrep, part in parts.items()}
