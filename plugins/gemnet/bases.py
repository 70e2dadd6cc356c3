"""Radial, circular and spherical bases of GemNet, and the edges that they are evaluated on."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from zoo_plugins.gemnet.geometry import Angles, Torsions
from zoo_plugins.gemnet.layers import BasisProjection, Dense, he_orthogonal_

from zoo.graph import Graph, reverse_edges
from zoo.nn import BesselBasis, PolynomialEnvelope, gather, is_recorded
from zoo.nn.spherical import SphericalBesselBasis

AngularRadial = Literal["spherical_bessel", "bessel"]


class Messages:
    """The edges that carry messages: all of the graph's, or those within the embedding cut-off."""

    def __init__(self, graph: Graph, cutoff: float) -> None:
        # Messages beyond the cut-off are zero. In recorded graphs, where their number must not be read, they stay.
        edge = None if is_recorded() else torch.nonzero(graph.edge_len < cutoff).flatten()
        self.num_atoms = graph.num_nodes
        self.num_edges = graph.num_edges if edge is None else edge.shape[0]
        self.all = self.num_edges == graph.num_edges
        self.source, self.target, self.reverse = graph.source, graph.target, reverse_edges(graph)
        self.distance = graph.edge_len
        self._place = None
        if edge is not None and not self.all:
            self._place = torch.zeros_like(graph.source)
            self._place[edge] = torch.arange(len(edge), device=edge.device)
            self.source, self.target = self.source[edge], self.target[edge]
            self.reverse = self._place[self.reverse[edge]]
            self.distance = gather(graph.edge_len, edge)

    def indices(self, edge: Tensor) -> Tensor | None:
        """Indices of the messages of some edges of the graph; ``None`` if these are all messages."""
        if edge.shape[0] == self.num_edges:
            return None
        return edge if self._place is None else self._place[edge]


class AngularInputs:
    """Inputs of one angular interaction for all blocks: geometry, projected bases, and the edges that take part."""

    def __init__(self, geometry: Angles | Torsions, graph: Graph, messages: Messages) -> None:
        self.geometry = geometry
        self.rows = messages.indices(geometry.edge)
        self.empty = geometry.empty
        place = torch.zeros_like(graph.source)
        place[geometry.edge] = torch.arange(geometry.edge.shape[0], device=place.device)
        self.reverse = place[reverse_edges(graph)[geometry.edge]]
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
        self,
        num_spherical: int,
        num_radial: int,
        emb_rbf: int,
        emb_cbf: int,
        cutoff: float,
        p: int,
        kind: AngularRadial,
    ) -> None:
        super().__init__()
        self.num_spherical = num_spherical
        self.radial = Dense(num_radial, emb_rbf)
        self.circular_radial = AngularRadialBasis(num_spherical, num_radial, cutoff, p, kind)
        self.circular = BasisProjection(num_spherical, num_radial, emb_cbf)

    def forward(self, graph: Graph, messages: Messages, rbf: Tensor, cutoff: float | None) -> AngularInputs:
        angles = Angles(graph, cutoff or _selection_cutoff(messages, self), self.num_spherical)
        inputs = AngularInputs(angles, graph, messages)
        distance = gather(graph.edge_len, inputs.geometry.edge)
        inputs.radial = self.radial(inputs.select(rbf))
        if cutoff is not None:
            inputs.radial = inputs.radial * self.circular_radial.envelope(distance)[:, None]
        if not inputs.empty:
            inputs.projected = inputs.geometry.to_slots(self.circular(self.circular_radial(distance)))
        return inputs


def _selection_cutoff(messages: Messages, basis: nn.Module) -> float | None:
    """The cut-off of a selection of edges; None if it includes every edge."""
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

    def forward(self, graph: Graph, messages: Messages, rbf: Tensor, cutoff: float | None) -> AngularInputs:
        cutoff_edges = self.spherical_radial.envelope.cutoff
        torsions = Torsions(graph, cutoff_edges, self.cutoff_interaction, self.num_spherical)
        inputs = AngularInputs(torsions, graph, messages)
        distance = gather(graph.edge_len, torsions.edge)
        inputs.radial = self.radial(inputs.select(rbf))
        if cutoff is not None:
            inputs.radial = inputs.radial * self.spherical_radial.envelope(distance)[:, None]
        if not inputs.empty:
            degree = torch.tensor(torsions.l, device=distance.device)
            radial = self.spherical_radial(distance).index_select(1, degree)
            inputs.projected = torsions.to_slots(self.spherical(radial))
            axes = self.circular_radial(gather(graph.edge_len, torsions.axis))
            weight = self.circular.view(self.circular.shape[0], self.num_spherical, -1)
            inputs.circular = torsions.circular_basis(torch.einsum("elr,ilr->eil", axes, weight))
        return inputs
