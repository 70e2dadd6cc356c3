"""GemNet-Q and GemNet-T (Gasteiger et al. 2021, arXiv:2106.08903)."""

from __future__ import annotations

import math

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from zoo_plugins.gemnet.bases import AngularRadial, Messages, QuadrupletBasis, TripletBasis
from zoo_plugins.gemnet.blocks import (
    AtomUpdate,
    EdgeEmbedding,
    GemNetInteraction,
    QuadrupletInteraction,
    TripletInteraction,
)
from zoo_plugins.gemnet.layers import Dense, Scale

from zoo.graph import Graph
from zoo.nn import BesselBasis, PolynomialEnvelope


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
        num_spherical: PositiveInt = 7,
        num_radial: PositiveInt = 6,
        blocks: PositiveInt = 4,
        emb_atom: PositiveInt = 128,
        emb_edge: PositiveInt = 128,
        emb_trip: PositiveInt = 64,
        emb_quad: PositiveInt = 32,
        emb_rbf: PositiveInt = 16,
        emb_cbf: PositiveInt = 16,
        emb_sbf: PositiveInt = 32,
        bil_trip: PositiveInt = 64,
        bil_quad: PositiveInt = 32,
        before_skip: int = 1,
        after_skip: int = 1,
        concat: int = 1,
        atom: int = 2,
        cutoff: float = 5.0,
        cutoff_triplets: float | None = None,
        cutoff_quadruplets: float | None = None,
        cutoff_interaction: float | None = None,
        envelope_exponent: PositiveInt = 5,
        quadruplets: bool = True,
        angular_radial: AngularRadial = "spherical_bessel",
        num_elements: PositiveInt = 93,
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
            GemNetInteraction(
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
