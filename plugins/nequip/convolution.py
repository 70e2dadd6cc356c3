"""The tensor-product convolution, fused over neighbours so that no (E, large) tensor is kept or even made.

    mid_i = Σ_j Σ_paths w(d_ij) · C (x_j ⊗ Y(x_ij))          (Batzner et al. 2022, eq. 4; "uvu" couplings)

The Clebsch-Gordan tensor C does not depend on the edge, so it acts after the sum over neighbours
(:class:`.path_sums.PathSums`), on atoms instead of edges: mid_i[m3] = Σ_{m1 m2} C[m3, m2, m1] A_i[m2; m1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.nn import gather, sum_by

from .coupling import ExactConstants, coupling_matrix
from .irreps import Irrep, Multiplicities, paths
from .neighbors import Neighbors
from .path_sums import PathColumns, PathSums, Plan

__all__ = ["Convolution", "Features"]

Features = dict[Irrep, Tensor]


class Convolution(ExactConstants):
    """Σ over neighbours of weights × (features ⊗ harmonics), channel by channel: features → mid features.

    The mid features of an irrep are those of its paths, one after the other along the channels; ``num_weights`` is
    the number of radial weights an edge needs, path after path, and ``floats_per_slot`` the most numbers that an
    edge has in a product at a time.
    """

    def __init__(self, irreps_in: Multiplicities, irreps_out: Multiplicities, lmax: int) -> None:
        self.paths = paths(irreps_in, irreps_out, lmax)
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
        if neighbors.blocks is None:
            return self._plain(features, weights, neighbors)
        plan = Plan(self.own_paths, neighbors.blocks, neighbors.source, neighbors.pair)
        sums = PathSums.apply(plan, neighbors.harmonics, weights, *features.values())
        return self._couple(sums)

    def _couple(self, sums: tuple[Tensor, ...]) -> Features:
        parts: dict[Irrep, list[Tensor]] = {irrep: [] for irrep in self.irreps_mid}
        for path, total in zip(self.paths, sums):
            matrix = self._buffers[f"c{path.source.l}{path.l}{path.target.l}"]
            parts[path.target].append(torch.matmul(matrix, total.unflatten(2, (path.source.dim, -1)).flatten(1, 2)))
        return {irrep: torch.cat(part, 2) for irrep, part in parts.items()}

    def _plain(self, features: Features, weights: Tensor, edges: Neighbors) -> Features:
        """The same edge by edge, in plain operations: what graph compilers take and the fused form is tested on."""
        weights = gather(weights, edges.pair)
        parts: dict[Irrep, list[Tensor]] = {irrep: [] for irrep in self.irreps_mid}
        column = 0
        for path in self.paths:
            x = gather(features[path.source], edges.source)
            num_nodes, channels = features[path.source].shape[0], x.shape[2]
            y = edges.harmonics[:, path.l**2 : (path.l + 1) ** 2]
            matrix = self._buffers[f"c{path.source.l}{path.l}{path.target.l}"].unflatten(1, (y.shape[1], -1))
            # Not einsum of three: it would look at the number of edges for the best order, and a graph compiler fix it.
            coupled = (y @ matrix.transpose(0, 1).flatten(1)).unflatten(1, (-1, x.shape[1]))
            message = coupled @ x * weights[:, None, column : column + channels]
            column += channels
            parts[path.target].append(sum_by(message, edges.target, num_nodes))
        return {irrep: torch.cat(part, 2) for irrep, part in parts.items()}
