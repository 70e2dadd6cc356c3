"""GemNet-Q and GemNet-T (Gasteiger et al. 2021, arXiv:2106.08903)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.graph import Graph
from zoo.nn import BesselBasis, PolynomialEnvelope, gather, sum_by
from zoo.nn.spherical import SphericalBesselBasis
from zoo_plugins.gemnet.geometry import Angles, Torsions
from zoo_plugins.gemnet.layers import (
    INV_SQRT_2,
    INV_SQRT_3,
    BasisProjection,
    Dense,
    EfficientBilinear,
    Scale,
    he_orthogonal_,
    residuals,
)

AngularRadial = Literal["spherical_bessel", "bessel"]


class GemNet(nn.Module):
    """Two-hop directional message passing: edge messages see distances, angles and torsions.

    Args:
        num_spherical, num_radial: degrees l and frequencies n of the bases.
        blocks: interaction blocks; the output holds one set of features for the embedding and for each block.
        emb_atom, emb_edge: widths of atom embeddings and of messages.
        emb_trip, emb_quad: widths of the messages in triplet and quadruplet interactions.
        emb_rbf, emb_cbf, emb_sbf: widths of the projected radial, circular and spherical bases.
        bil_trip, bil_quad: output widths of the bilinear layers.
        before_skip, after_skip, concat, atom: numbers of residual layers (paper, fig. 2).
        cutoff: radius of the messages, Å.
        cutoff_triplets, cutoff_quadruplets: edges c→a, b→a and d→b longer than this take no part in triplets
            (quadruplets); ``None`` means ``cutoff``, as in the paper.
        cutoff_interaction: longest axis a–b of quadruplets, Å; ``None`` means ``cutoff``.
        envelope_exponent: p of the polynomial envelope.
        quadruplets: False gives GemNet-T.
        angular_radial: radial part of the angular bases: spherical Bessel functions j_l as in the paper, or the same
            trainable Bessel basis for all l, as in fairchem's GemNet-T.
        num_elements: rows of the element embedding, the first one hydrogen.
    """

    def __init__(
        self,
        *,
        num_spherical: int = 7,
        num_radial: int = 6,
        blocks: int = 4,
        emb_atom: int = 128,
        emb_edge: int = 128,
        emb_trip: int = 64,
        emb_quad: int = 32,
        emb_rbf: int = 16,
        emb_cbf: int = 16,
        emb_sbf: int = 32,
        bil_trip: int = 64,
        bil_quad: int = 32,
        before_skip: int = 1,
        after_skip: int = 1,
        concat: int = 1,
        atom: int = 2,
        cutoff: float = 5.0,
        cutoff_triplets: float | None = None,
        cutoff_quadruplets: float | None = None,
        cutoff_interaction: float | None = None,
        envelope_exponent: int = 5,
        quadruplets: bool = True,
        angular_radial: AngularRadial = "spherical_bessel",
        num_elements: int = 93,
    ) -> None:
        super().__init__()
        self.cutoff_messages = cutoff
        self.cutoff_triplets = _shorter(cutoff_triplets, cutoff)
        self.cutoff_quadruplets = _shorter(cutoff_quadruplets, cutoff)
        self.cutoff_interaction = cutoff if cutoff_interaction is None else cutoff_interaction
        self.cutoff = max(cutoff, self.cutoff_interaction) if quadruplets else cutoff
        self.num_spherical = num_spherical
        self.irreps_out = f"{(blocks + 1) * emb_atom}x0e"

        p = envelope_exponent
        self.radial = BesselBasis(num_radial, cutoff, scale=math.sqrt(2 / cutoff), trainable=True)
        self.envelope = PolynomialEnvelope(cutoff, p=p)
        self.atom_embedding = nn.Embedding(num_elements, emb_atom)
        nn.init.uniform_(self.atom_embedding.weight, -math.sqrt(3), math.sqrt(3))
        self.edge_embedding = EdgeEmbedding(emb_atom, num_radial, emb_edge)
        # Down-projections of the bases are shared by all blocks.
        self.radial_atom = Dense(num_radial, emb_rbf)
        self.radial_output = Dense(num_radial, emb_rbf)
        reach = self.cutoff_triplets or cutoff
        self.triplet_basis = TripletBasis(num_spherical, num_radial, emb_rbf, emb_cbf, reach, p, angular_radial)
        self.quadruplet_basis = None
        if quadruplets:
            self.quadruplet_basis = QuadrupletBasis(
                num_spherical, num_radial, emb_rbf, emb_cbf, emb_sbf,
                self.cutoff_quadruplets or cutoff, self.cutoff_interaction, p, angular_radial,
            )  # fmt: skip
        self.interactions = nn.ModuleList(
            InteractionBlock(
                emb_atom=emb_atom,
                emb_edge=emb_edge,
                emb_rbf=emb_rbf,
                triplets=TripletInteraction(emb_edge, emb_trip, emb_rbf, emb_cbf, bil_trip),
                quadruplets=QuadrupletInteraction(emb_edge, emb_quad, emb_rbf, emb_cbf, emb_sbf, bil_quad)
                if quadruplets
                else None,
                before_skip=before_skip,
                after_skip=after_skip,
                concat=concat,
                atom=atom,
            )
            for _ in range(blocks)
        )
        self.outputs = nn.ModuleList(AtomUpdate(emb_atom, emb_edge, emb_rbf, atom) for _ in range(blocks + 1))

    def forward(self, graph: Graph) -> Tensor:
        """(N, (blocks + 1) · emb_atom): the features that the paper's heads read, one block after the other."""
        messages = Messages(graph, self.cutoff_messages)
        rbf = self.radial(messages.distance) * self.envelope(messages.distance)[:, None]
        triplets = self.triplet_basis(graph, messages, rbf, self.cutoff_triplets)
        quadruplets = None
        if self.quadruplet_basis is not None:
            quadruplets = self.quadruplet_basis(graph, messages, rbf, self.cutoff_quadruplets)
        rbf_atom, rbf_output = self.radial_atom(rbf), self.radial_output(rbf)
        h = self.atom_embedding(graph.z - 1)
        m = self.edge_embedding(h, rbf, messages)
        features = [self.outputs[0](m, rbf_output, messages)]
        for interaction, output in zip(self.interactions, self.outputs[1:], strict=True):
            h, m = interaction(h, m, rbf_atom, triplets, quadruplets, messages)
            features.append(output(m, rbf_output, messages))
        return torch.cat(features, dim=1)

    @torch.no_grad()
    def fit_constants(self, graph: Graph) -> None:
        """Fit the scaling factors, one after the other in the order of the forward pass, on a batch with vectors."""
        scales = [module for module in self.modules() if isinstance(module, Scale)]
        for scale in scales:
            scale.fitting = True
        try:
            self.forward(graph)
        finally:
            for scale in scales:
                scale.fitting = False


def _shorter(cutoff: float | None, than: float) -> float | None:
    return cutoff if cutoff is not None and cutoff < than else None


class Messages:
    """The edges that carry messages: all of the graph's, or those within the embedding cut-off."""

    def __init__(self, graph: Graph, cutoff: float) -> None:
        edge = torch.nonzero(graph.edge_len < cutoff).flatten()
        self.num_atoms, self.num_edges = graph.num_nodes, edge.shape[0]
        self.all = self.num_edges == graph.num_edges
        self.source, self.target, self.reverse = graph.source, graph.target, graph.reverse_edge
        self.distance = graph.edge_len
        self._place = None
        if not self.all:
            self._place = torch.zeros_like(graph.source).index_copy_(0, edge, torch.arange(len(edge), device=edge.device))
            self.source, self.target = self.source[edge], self.target[edge]
            self.reverse = self._place[self.reverse[edge]]
            self.distance = gather(graph.edge_len, edge)

    def place(self, edge: Tensor) -> Tensor | None:
        """Rows of messages for some edges of the graph; ``None`` if these are all messages."""
        if edge.shape[0] == self.num_edges:
            return None
        return edge if self._place is None else self._place[edge]


class Circuit:
    """One angular interaction, ready for the blocks: geometry, projected bases, and which messages take part."""

    def __init__(self, geometry: Angles | Torsions, graph: Graph, messages: Messages) -> None:
        self.geometry = geometry
        self.rows = messages.place(geometry.edge)
        self.empty = geometry.empty
        place = torch.zeros_like(graph.source)
        place[geometry.edge] = torch.arange(len(geometry.edge), device=place.device)
        self.reverse = place[graph.reverse_edge[geometry.edge]]
        self.radial: Tensor
        self.projected: Tensor
        self.circular: list[Tensor] = []

    def select(self, x: Tensor) -> Tensor:
        return x if self.rows is None else gather(x, self.rows)

    def add(self, x: Tensor, part: Tensor) -> Tensor:
        return x + part if self.rows is None else x.index_add(0, self.rows, part)


class AngularRadialBasis(nn.Module):
    """Radial part of a circular or spherical basis, envelope included: (rows,) distances → (rows, L, R)."""

    def __init__(self, num_spherical: int, num_radial: int, cutoff: float, p: int, kind: AngularRadial) -> None:
        super().__init__()
        self.envelope = PolynomialEnvelope(cutoff, p=p)
        self.num_spherical = num_spherical
        self.shared = kind == "bessel"
        if self.shared:
            self.functions = BesselBasis(num_radial, cutoff, scale=math.sqrt(2 / cutoff), trainable=True)
        else:
            self.functions = SphericalBesselBasis(num_spherical, num_radial, cutoff)
            self.scale = cutoff**-1.5

    def forward(self, distance: Tensor) -> Tensor:
        envelope = self.envelope(distance)
        if self.shared:
            return (self.functions(distance) * envelope[:, None])[:, None].expand(-1, self.num_spherical, -1)
        return self.functions(distance) * (envelope * self.scale)[:, None, None]


class TripletBasis(nn.Module):
    """RBF(x_ba) and CBF(x_ca, φ_cab), with their shared down-projections."""

    def __init__(
        self, num_spherical: int, num_radial: int, emb_rbf: int, emb_cbf: int, cutoff: float, p: int, kind: AngularRadial
    ) -> None:
        super().__init__()
        self.num_spherical = num_spherical
        self.radial = Dense(num_radial, emb_rbf)
        self.circular_radial = AngularRadialBasis(num_spherical, num_radial, cutoff, p, kind)
        self.circular = BasisProjection(num_spherical, num_radial, emb_cbf)

    def forward(self, graph: Graph, messages: Messages, rbf: Tensor, cutoff: float | None) -> Circuit:
        circuit = Circuit(Angles(graph, cutoff or _reach(messages, graph, self), self.num_spherical), graph, messages)
        distance = gather(graph.edge_len, circuit.geometry.edge)
        circuit.radial = self.radial(circuit.select(rbf))
        if cutoff is not None:
            circuit.radial = circuit.radial * self.circular_radial.envelope(distance)[:, None]
        if not circuit.empty:
            circuit.projected = circuit.geometry.to_slots(self.circular(self.circular_radial(distance)))
        return circuit


def _reach(messages: Messages, graph: Graph, basis: nn.Module) -> float | None:
    """No cut-off at all where every edge is a message: spares a selection."""
    return None if messages.all else basis.circular_radial.envelope.cutoff


class QuadrupletBasis(nn.Module):
    """RBF(x_db), CBF(x_ab, φ_abd) and SBF(x_ca, φ_cab, θ_cabd), with their shared down-projections."""

    def __init__(
        self,
        num_spherical: int,
        num_radial: int,
        emb_rbf: int,
        emb_cbf: int,
        emb_sbf: int,
        cutoff: float,
        cutoff_interaction: float,
        p: int,
        kind: AngularRadial,
    ) -> None:
        super().__init__()
        self.num_spherical = num_spherical
        self.cutoff_interaction = cutoff_interaction
        self.radial = Dense(num_radial, emb_rbf)
        self.circular_radial = AngularRadialBasis(num_spherical, num_radial, cutoff_interaction, p, kind)
        self.circular = nn.Parameter(torch.empty(emb_cbf, num_spherical * num_radial))
        he_orthogonal_(self.circular)
        self.spherical_radial = AngularRadialBasis(num_spherical, num_radial, cutoff, p, kind)
        self.spherical = BasisProjection(num_spherical * (num_spherical + 1) // 2, num_radial, emb_sbf)

    def forward(self, graph: Graph, messages: Messages, rbf: Tensor, cutoff: float | None) -> Circuit:
        reach = self.spherical_radial.envelope.cutoff
        torsions = Torsions(graph, reach, self.cutoff_interaction, self.num_spherical)
        circuit = Circuit(torsions, graph, messages)
        distance = gather(graph.edge_len, torsions.edge)
        circuit.radial = self.radial(circuit.select(rbf))
        if cutoff is not None:
            circuit.radial = circuit.radial * self.spherical_radial.envelope(distance)[:, None]
        if not circuit.empty:
            degree = torch.tensor(torsions.l, device=distance.device)
            radial = self.spherical_radial(distance).index_select(1, degree)
            circuit.projected = torsions.to_slots(self.spherical(radial))
            axes = self.circular_radial(gather(graph.edge_len, torsions.axis))
            weight = self.circular.view(self.circular.shape[0], self.num_spherical, -1)
            circuit.circular = torsions.circular_basis(torch.einsum("elr,ilr->eil", axes, weight))
        return circuit


class EdgeEmbedding(nn.Module):
    """σ(W [h_source, h_target, x]); the atoms' share of the product is taken per atom."""

    def __init__(self, emb_atom: int, n_in: int, emb_edge: int) -> None:
        super().__init__()
        self.dense = Dense(2 * emb_atom + n_in, emb_edge, activate=True)
        self.widths = [emb_atom, emb_atom, n_in]

    def forward(self, h: Tensor, x: Tensor, messages: Messages) -> Tensor:
        source, target, edge = self.dense.weight.split(self.widths, dim=1)
        y = gather(h @ source.t(), messages.source) + gather(h @ target.t(), messages.target) + x @ edge.t()
        return F.silu(y) * (1 / 0.6)


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

    def forward(self, m: Tensor, circuit: Circuit) -> Tensor:
        x = self.dense(circuit.select(m))
        x = self.down(self.scale_radial(x * self.radial(circuit.radial), x))
        y = self.bilinear(circuit.projected, circuit.geometry.sums(x))
        y = self.scale_sum(circuit.geometry.to_edges(y), x)
        return (self.up(y) + gather(self.up_reverse(y), circuit.reverse)) * INV_SQRT_2


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

    def forward(self, m: Tensor, circuit: Circuit) -> Tensor:
        x = self.dense(circuit.select(m))
        x = self.down(self.scale_radial(x * self.radial(circuit.radial), x))
        products = circuit.geometry.products(x, [self.circular(c) for c in circuit.circular])
        if self.scale_circular.fitting:
            self.scale_circular(circuit.geometry.rows_of_pairs(products), x)
        y = self.bilinear(circuit.projected, circuit.geometry.sums(products) * self.scale_circular.factor)
        y = self.scale_sum(circuit.geometry.to_edges(y), x)
        return (self.up(y) + gather(self.up_reverse(y), circuit.reverse)) * INV_SQRT_2


class InteractionBlock(nn.Module):
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
        triplets: Circuit,
        quadruplets: Circuit | None,
        messages: Messages,
    ) -> tuple[Tensor, Tensor]:
        x = self.dense(m)
        if not triplets.empty:
            x = triplets.add(x, self.triplets(m, triplets))
        if quadruplets is not None and not quadruplets.empty:
            x = quadruplets.add(x, self.quadruplets(m, quadruplets))
        x = x * (INV_SQRT_2 if self.quadruplets is None else INV_SQRT_3)
        m = self.after_skip((m + self.before_skip(x)) * INV_SQRT_2)
        h = (h + self.atom_update(m, rbf_atom, messages)) * INV_SQRT_2
        m = (m + self.after_concat(self.edge_embedding(h, m, messages))) * INV_SQRT_2
        return h, m
