"""The blocks of GemNet: embedding of edges, update of atoms, triplet and quadruplet interactions."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from zoo_plugins.gemnet.bases import AngularInputs, Messages
from zoo_plugins.gemnet.layers import INV_SQRT_2, INV_SQRT_3, Dense, EfficientBilinear, Scale, residuals

from zoo.nn import blockwise, gather, silu, sum_by


class EdgeEmbedding(nn.Module):
    """σ(W [h_source, h_target, x]); the atoms' share of the product is taken per atom."""

    def __init__(self, emb_atom: int, n_in: int, emb_edge: int) -> None:
        super().__init__()
        self.dense = Dense(2 * emb_atom + n_in, emb_edge, activate=True)
        self.widths = [emb_atom, emb_atom, n_in]

    def forward(self, h: Tensor, x: Tensor, messages: Messages) -> Tensor:
        source, target, edge = self.dense.weight.split(self.widths, dim=1)
        y = gather(h @ source.t(), messages.source) + gather(h @ target.t(), messages.target) + x @ edge.t()
        return silu(y, scale=1 / 0.6)


class AtomUpdate(nn.Module):
    """Messages to atoms, then residual layers: the atom update, and the output block without its linear layer."""

    def __init__(self, emb_atom: int, emb_edge: int, emb_rbf: int, num_residual: int) -> None:
        super().__init__()
        self.radial = Dense(emb_rbf, emb_edge)
        self.scale = Scale()
        self.dense = Dense(emb_edge, emb_atom, activate=True)
        self.residuals = residuals(emb_atom, num_residual)

    def forward(self, m: Tensor, rbf: Tensor, messages: Messages) -> Tensor:
        x = sum_by(m * self.radial(rbf), messages.target, messages.num_atoms)
        return self.residuals(self.dense(self.scale(x, m)))


class TripletInteraction(nn.Module):
    """Messages from b→a to c→a by the angle between them, then also to a→c (paper, fig. 2, right)."""

    def __init__(self, emb_edge: int, emb_trip: int, emb_rbf: int, emb_cbf: int, bilinear: int) -> None:
        super().__init__()
        self.dense = Dense(emb_edge, emb_edge, activate=True)
        self.radial = Dense(emb_rbf, emb_edge)
        self.scale_radial = Scale()
        self.down = Dense(emb_edge, emb_trip, activate=True)
        self.bilinear = EfficientBilinear(emb_trip, emb_cbf, bilinear)
        self.scale_sum = Scale()
        self.up = Dense(bilinear, emb_edge, activate=True)
        self.up_reverse = Dense(bilinear, emb_edge, activate=True)

    def forward(self, m: Tensor, inputs: AngularInputs) -> Tensor:
        # A factor is fitted to all rows at once.
        down = self._down if self.scale_radial.fitting else partial(blockwise, self._down)
        x = down(inputs.select(m), inputs.radial)
        y = self.bilinear(inputs.projected, inputs.geometry.sums(x))
        y = self.scale_sum(inputs.geometry.to_edges(y), x)
        return (self.up(y) + gather(self.up_reverse(y), inputs.reverse)) * INV_SQRT_2

    def _down(self, m: Tensor, radial: Tensor) -> Tensor:
        x = self.dense(m)
        return self.down(self.scale_radial(x * self.radial(radial), x))


class QuadrupletInteraction(nn.Module):
    """Messages from d→b over the axis b–a to c→a by two angles and the dihedral, then also to a→c (fig. 2, left)."""

    def __init__(self, emb_edge: int, emb_quad: int, emb_rbf: int, emb_cbf: int, emb_sbf: int, bilinear: int) -> None:
        super().__init__()
        self.dense = Dense(emb_edge, emb_edge, activate=True)
        self.radial = Dense(emb_rbf, emb_edge)
        self.scale_radial = Scale()
        self.down = Dense(emb_edge, emb_quad, activate=True)
        self.circular = Dense(emb_cbf, emb_quad)
        self.scale_circular = Scale()
        self.bilinear = EfficientBilinear(emb_quad, emb_sbf, bilinear)
        self.scale_sum = Scale()
        self.up = Dense(bilinear, emb_edge, activate=True)
        self.up_reverse = Dense(bilinear, emb_edge, activate=True)

    def forward(self, m: Tensor, inputs: AngularInputs) -> Tensor:
        # A factor is fitted to all rows at once.
        down = self._down if self.scale_radial.fitting else partial(blockwise, self._down)
        x = down(inputs.select(m), inputs.radial)
        products = inputs.geometry.products(x, [self.circular(c) for c in inputs.circular])
        if self.scale_circular.fitting:
            self.scale_circular(inputs.geometry.rows_of_pairs(products), x)
        y = self.bilinear(inputs.projected, inputs.geometry.sums(products) * self.scale_circular.factor)
        y = self.scale_sum(inputs.geometry.to_edges(y), x)
        return (self.up(y) + gather(self.up_reverse(y), inputs.reverse)) * INV_SQRT_2

    def _down(self, m: Tensor, radial: Tensor) -> Tensor:
        x = self.dense(m)
        return self.down(self.scale_radial(x * self.radial(radial), x))


class GemNetInteraction(nn.Module):
    """Update of the messages by triplets (and quadruplets), of the atoms, and of the messages by the atoms (fig. 2)."""

    def __init__(
        self,
        *,
        emb_atom: int,
        emb_edge: int,
        emb_rbf: int,
        triplets: TripletInteraction,
        quadruplets: QuadrupletInteraction | None,
        before_skip: int,
        after_skip: int,
        concat: int,
        atom: int,
    ) -> None:
        super().__init__()
        self.dense = Dense(emb_edge, emb_edge, activate=True)
        self.triplets = triplets
        self.quadruplets = quadruplets
        self.before_skip = residuals(emb_edge, before_skip)
        self.after_skip = residuals(emb_edge, after_skip)
        self.atom_update = AtomUpdate(emb_atom, emb_edge, emb_rbf, atom)
        self.edge_embedding = EdgeEmbedding(emb_atom, emb_edge, emb_edge)
        self.after_concat = residuals(emb_edge, concat)

    def forward(
        self,
        h: Tensor,
        m: Tensor,
        rbf_atom: Tensor,
        triplets: AngularInputs,
        quadruplets: AngularInputs | None,
        messages: Messages,
    ) -> tuple[Tensor, Tensor]:
        x = self.dense(m)
        if not triplets.empty:
            x = triplets.add(x, self.triplets(m, triplets))
        if quadruplets is not None and not quadruplets.empty:
            x = quadruplets.add(x, self.quadruplets(m, quadruplets))
        x = x * (INV_SQRT_2 if self.quadruplets is None else INV_SQRT_3)
        m = blockwise(lambda m, x: self.after_skip((m + self.before_skip(x)) * INV_SQRT_2), m, x)
        h = (h + self.atom_update(m, rbf_atom, messages)) * INV_SQRT_2
        x = self.edge_embedding(h, m, messages)
        m = blockwise(lambda m, x: (m + self.after_concat(x)) * INV_SQRT_2, m, x)
        return h, m
