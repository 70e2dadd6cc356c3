"""DimeNet++ (Gasteiger et al. 2020, arXiv:2011.14115)."""

from __future__ import annotations

import math

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.graph import Graph, neighbor_tables, reverse_edges
from zoo.nn import BesselBasis, PolynomialEnvelope, blockwise, gather, silu, sum_by
from zoo.nn.fused.overwriting import add_overwriting, multiply_overwriting, silu_overwriting
from zoo.nn.spherical import SphericalBesselBasis, circular_harmonics


class DimeNetPlusPlus(nn.Module):
    """Messages m_ji on directed edges, refined by the messages m_kj and the angle between the two edges.

    The interaction Σ_k W₂W₁ (j_l(d_kj) Y_l0(α_kji)) ⊙ m_kj is evaluated with the radial part first, as one matrix
    product per atom j over its neighbours: the same sum as over triplets k→j→i, without a row per triplet.

    Args:
        hidden, int_emb, basis_emb, out_emb: widths of messages, of their down-projection in the interaction, of the
            projected basis, and of the output features.
        blocks: interaction blocks; the output holds one set of features for the embedding and for each block.
        num_spherical, num_radial: degrees l and frequencies n of the basis.
        cutoff: radius of the messages, Å.
        cutoff_triplets: only edges shorter than this exchange messages; ``None`` means all, as in the paper.
        envelope_exponent: p − 1 of the polynomial envelope.
        before_skip, after_skip: residual layers around the skip connection.
        output_layers: dense layers of each output block.
        num_elements: rows of the element embedding.
    """

    def __init__(
        self,
        *,
        hidden: PositiveInt = 128,
        blocks: PositiveInt = 4,
        int_emb: PositiveInt = 64,
        basis_emb: PositiveInt = 8,
        out_emb: PositiveInt = 256,
        num_spherical: PositiveInt = 7,
        num_radial: PositiveInt = 6,
        cutoff: float = 5.0,
        cutoff_triplets: float | None = None,
        envelope_exponent: PositiveInt = 5,
        before_skip: int = 1,
        after_skip: int = 2,
        output_layers: int = 3,
        num_elements: PositiveInt = 95,
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.cutoff_triplets = cutoff_triplets if cutoff_triplets is not None and cutoff_triplets < cutoff else None
        self.num_spherical = num_spherical
        self.irreps_out = f"{(blocks + 1) * out_emb}x0e"
        p = envelope_exponent + 1
        reach = self.cutoff_triplets or cutoff
        self.envelope = PolynomialEnvelope(cutoff, p=p)
        self.envelope_triplets = PolynomialEnvelope(reach, p=p)
        self.bessel = BesselBasis(num_radial, cutoff, scale=cutoff, trainable=True)
        self.spherical_bessel = SphericalBesselBasis(num_spherical, num_radial, reach)
        self.embedding = EmbeddingBlock(num_elements, hidden, num_radial)
        self.interactions = nn.ModuleList(
            DimeNetInteraction(hidden, int_emb, basis_emb, num_spherical, num_radial, before_skip, after_skip)
            for _ in range(blocks)
        )
        self.outputs = nn.ModuleList(
            OutputBlock(hidden, out_emb, num_radial, output_layers) for _ in range(blocks + 1)
        )

    def forward(self, graph: Graph) -> Tensor:
        """(N, (blocks + 1) · out_emb): the features that the paper's heads read, one block after the other."""
        distance = graph.edge_len
        rbf = self.bessel(distance) * self.envelope(distance)[:, None]
        angular = _Angular(self, graph)
        x = self.embedding(graph, rbf)
        features = [self.outputs[0](x, rbf, graph)]
        for interaction, output in zip(self.interactions, self.outputs[1:], strict=True):
            x = interaction(x, rbf, angular)
            features.append(output(x, rbf, graph))
        return torch.cat(features, dim=1)


class _Angular:
    """Shared by all interaction blocks: pairs of edges at each atom, angular and radial bases."""

    def __init__(self, model: DimeNetPlusPlus, graph: Graph) -> None:
        near = neighbor_tables(graph, cutoff=model.cutoff_triplets)
        self.edge = near.edge
        self.all_edges = near.edge.shape[0] == graph.num_edges
        # j's table holds i→j; its message goes to the reverse edge j→i.
        slot = torch.empty_like(graph.source).index_copy_(0, near.edge, near.slot)
        self.slot_of_reverse = slot.index_select(0, reverse_edges(graph).index_select(0, near.edge))
        distance = graph.edge_len.index_select(0, near.edge)
        unit = graph.edge_vec.index_select(0, near.edge) / distance[:, None]
        envelope = model.envelope_triplets(distance)
        self.weight = None if model.cutoff_triplets is None else envelope[:, None]
        envelope = envelope * (model.envelope_triplets.cutoff / distance)
        radial = model.spherical_bessel(distance).flatten(1) * envelope[:, None]
        self.tables = []
        for table in near.tables:
            row, shape = table.row.flatten(), table.row.shape
            u = gather(unit, row).view(*shape, 3)
            # The paper's angle lies between j→i and k→j: π minus the one at j.
            cos = -(u @ u.transpose(1, 2))
            harmonics = torch.stack(circular_harmonics(cos, model.num_spherical, table.pairs.to(cos.dtype)), dim=3)
            self.tables.append((table.row, harmonics.flatten(2), gather(radial, row).view(*shape, -1)))

    def exchange(self, x: Tensor, weight: Tensor) -> Tensor:
        """Σ_k over neighbours: x (E', C) by edge k→j, weight (C, L, R) → (E', C) by edge j→i."""
        channels, degrees, radials = weight.shape
        # Block-diagonal in l: more multiplications, but a single product, in the memory layout of the next one.
        eye = torch.eye(degrees, dtype=x.dtype, device=x.device)
        filters = torch.einsum("clr,lm->lrmc", weight, eye).reshape(degrees * radials, degrees * channels)

        def exchange_at_atoms(harmonics: Tensor, radial: Tensor, row: Tensor) -> Tensor:
            atoms, width = row.shape
            messages = (radial.flatten(0, 1) @ filters).view(-1, degrees, channels)
            messages = multiply_overwriting(messages, gather(x, row.flatten())[:, None])
            return harmonics @ messages.view(atoms, width * degrees, channels)

        sums = []
        for row, harmonics, radial in self.tables:
            width = row.shape[1] * degrees * channels
            sums.append(blockwise(exchange_at_atoms, harmonics, radial, row, width=width).view(-1, channels))
        if not sums:
            return x
        return gather(torch.cat(sums) if len(sums) > 1 else sums[0], self.slot_of_reverse)


class EmbeddingBlock(nn.Module):
    """First messages from the two elements and the distance (DimeNet, eq. 9)."""

    def __init__(self, num_elements: int, hidden: int, num_radial: int) -> None:
        super().__init__()
        self.element = nn.Embedding(num_elements, hidden)
        nn.init.uniform_(self.element.weight, -math.sqrt(3), math.sqrt(3))
        self.radial = nn.Linear(num_radial, hidden)
        self.message = nn.Linear(3 * hidden, hidden)

    def forward(self, graph: Graph, rbf: Tensor) -> Tensor:
        h = self.element(graph.z)
        to_target, to_source, to_radial = self.message.weight.chunk(3, dim=1)
        x = F.linear(silu_overwriting(self.radial(rbf)), to_radial, self.message.bias)
        x = add_overwriting(x, gather(h @ to_target.t(), graph.target))
        return silu_overwriting(add_overwriting(x, gather(h @ to_source.t(), graph.source)))


class ResidualLayer(nn.Module):
    """x + σ(W σ(W x))."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first = _orthogonal(hidden, hidden, bias=True)
        self.second = _orthogonal(hidden, hidden, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return add_overwriting(silu_overwriting(self.second(silu_overwriting(self.first(x)))), x)


class DimeNetInteraction(nn.Module):
    """Directional message passing with the fast interaction of DimeNet++ (fig. 1 of the paper)."""

    def __init__(
        self,
        hidden: int,
        int_emb: int,
        basis_emb: int,
        num_spherical: int,
        num_radial: int,
        before_skip: int,
        after_skip: int,
    ) -> None:
        super().__init__()
        self.radial_down = _orthogonal(num_radial, basis_emb)
        self.radial_up = _orthogonal(basis_emb, hidden)
        self.spherical_down = _orthogonal(num_spherical * num_radial, basis_emb)
        self.spherical_up = _orthogonal(basis_emb, int_emb)
        self.from_neighbour = _orthogonal(hidden, hidden, bias=True)
        self.from_self = _orthogonal(hidden, hidden, bias=True)
        self.down = _orthogonal(hidden, int_emb)
        self.up = _orthogonal(int_emb, hidden)
        self.before_skip = nn.Sequential(*(ResidualLayer(hidden) for _ in range(before_skip)))
        self.skip = _orthogonal(hidden, hidden, bias=True)
        self.after_skip = nn.Sequential(*(ResidualLayer(hidden) for _ in range(after_skip)))
        self.basis_shape = (int_emb, num_spherical, num_radial)

    def forward(self, x: Tensor, rbf: Tensor, angular: _Angular) -> Tensor:
        near, near_rbf = (x, rbf) if angular.all_edges else (gather(x, angular.edge), gather(rbf, angular.edge))
        radial = self.radial_up.weight @ self.radial_down.weight
        m = blockwise(lambda x, rbf: self._to_exchange(x, F.linear(rbf, radial)), near, near_rbf)
        m = angular.exchange(m, (self.spherical_up.weight @ self.spherical_down.weight).view(self.basis_shape))
        if angular.weight is not None:
            m = m * angular.weight
        if angular.all_edges:
            return blockwise(lambda x, m: self._update(x, silu_overwriting(self.up(m))), x, m)
        m = x.new_zeros(x.shape).index_add(0, angular.edge, silu(self.up(m)))
        return blockwise(self._update, x, m)

    def _to_exchange(self, x: Tensor, radial: Tensor) -> Tensor:
        x = silu_overwriting(self.from_neighbour(x))
        return silu_overwriting(self.down(multiply_overwriting(x, radial)))

    def _update(self, x: Tensor, m: Tensor) -> Tensor:
        h = self.before_skip(add_overwriting(silu_overwriting(self.from_self(x)), m))
        return self.after_skip(add_overwriting(silu_overwriting(self.skip(h)), x))


class OutputBlock(nn.Module):
    """Messages to atoms, then dense layers (DimeNet++, without its last linear layer, which is the readout)."""

    def __init__(self, hidden: int, out_emb: int, num_radial: int, layers: int) -> None:
        super().__init__()
        self.radial = _orthogonal(num_radial, hidden)
        self.up = _orthogonal(hidden, out_emb)
        self.layers = nn.ModuleList(_orthogonal(out_emb, out_emb, bias=True) for _ in range(layers))

    def forward(self, x: Tensor, rbf: Tensor, graph: Graph) -> Tensor:
        h = self.up(sum_by(multiply_overwriting(self.radial(rbf), x), graph.target, graph.num_nodes))
        for layer in self.layers:
            h = silu_overwriting(layer(h))
        return h


def _orthogonal(n_in: int, n_out: int, *, bias: bool = False) -> nn.Linear:
    """Orthogonal weights scaled to Glorot's variance 2/(n_in + n_out), as the reference code initialises its layers."""
    layer = nn.Linear(n_in, n_out, bias=bias)
    nn.init.orthogonal_(layer.weight)
    with torch.no_grad():
        variance = layer.weight.var(unbiased=True) if layer.weight.numel() > 1 else layer.weight.new_ones(())
        layer.weight.mul_((2.0 / ((n_in + n_out) * variance)).sqrt())
        if bias:
            layer.bias.zero_()
    return layer
