"""The general layer on scalar and vector features, of which EGNN, PaiNN and their relatives are special cases."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from zoo.graph.graph import Graph
from zoo.nn.dense_layers import MLP
from zoo.nn.radial import BesselBasis, PolynomialEnvelope
from zoo.nn.scatter import gather, sum_by

__all__ = ["EdgeInvariants", "NodeInvariants", "ScalarVectorLayer", "safe_norm"]


def safe_norm(v: Tensor, dim: int = 1, epsilon: float = 1e-8) -> Tensor:
    """√(Σ v² + ε): the length of a vector, with finite derivatives where the vector is zero."""
    return (v.square().sum(dim) + epsilon).sqrt()


class NodeInvariants(NamedTuple):
    """Arguments of f1 and f3, each (N, C)."""

    s_i: Tensor
    norm_i: Tensor


class EdgeInvariants(NamedTuple):
    """Arguments of f2, f4 and f5 for each edge j→i: (E, C), but ``distance`` (E, R) in a radial basis."""

    s_i: Tensor
    s_j: Tensor
    distance: Tensor
    norm_j: Tensor
    x_dot_vj: Tensor
    x_dot_vi: Tensor
    vi_dot_vj: Tensor


class ScalarVectorLayer(nn.Module):
    """Message passing on scalars s (N, C) and vectors v (N, 3, C) with x_ij = x_j − x_i.

    s_i' = f1(s_i, ‖v_i‖) + Σ_j f2(s_i, s_j, ‖x_ij‖, ‖v_j‖, x_ij·v_j, x_ij·v_i, v_i·v_j)
    v_i' = f3(s_i, ‖v_i‖) ∘ v_i + Σ_j f4(…) ∘ v_j + Σ_j f5(…) ∘ x_ij

    f4 and f5 take the arguments of f2. f1 and f3 are residual (f1 = s_i + …, f3 = 1 + …), and f2, f4, f5 carry an
    envelope that makes them vanish, with two derivatives, at the cut-off. All five are invariant, so s' is invariant
    and v' turns and reflects with the structure.

    Args:
        channels: C, of scalars and of vectors.
        cutoff: in Å.
        num_radial: R, Bessel functions that describe ‖x_ij‖.
        hidden: width of the networks; C if not given.
        activation: name of their non-linearity.
    """

    def __init__(
        self,
        channels: int,
        cutoff: float,
        *,
        num_radial: int = 16,
        hidden: int | None = None,
        activation: str = "silu",
    ) -> None:
        super().__init__()
        hidden = channels if hidden is None else hidden
        self.basis = BesselBasis(num_radial, cutoff)
        self.envelope = PolynomialEnvelope(cutoff)
        self.f13 = MLP([2 * channels, hidden, 2 * channels], activation)
        self.f245 = MLP([6 * channels + num_radial, hidden, 3 * channels], activation)

    def forward(self, s: Tensor, v: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        assert graph.edge_len is not None and graph.edge_vec is not None
        f1, f3 = self.f13(torch.cat(self.node_invariants(s, v), 1)).chunk(2, dim=1)
        envelope = self.envelope(graph.edge_len)[:, None]
        f245 = self.f245(torch.cat(self.edge_invariants(s, v, graph), 1)) * envelope
        f2, f4, f5 = f245.chunk(3, dim=1)
        v_j = gather(v, graph.source)
        message = f4[:, None] * v_j + f5[:, None] * graph.edge_vec[:, :, None]
        N = s.shape[0]
        return s + f1 + sum_by(f2, graph.target, N), v + f3[:, None] * v + sum_by(message, graph.target, N)

    def node_invariants(self, s: Tensor, v: Tensor) -> NodeInvariants:
        return NodeInvariants(s, safe_norm(v))

    def edge_invariants(self, s: Tensor, v: Tensor, graph: Graph) -> EdgeInvariants:
        assert graph.edge_len is not None and graph.edge_vec is not None
        i, j = graph.target, graph.source
        x = graph.edge_vec[:, :, None]
        v_i, v_j = gather(v, i), gather(v, j)
        return EdgeInvariants(
            s_i=gather(s, i),
            s_j=gather(s, j),
            distance=self.basis(graph.edge_len),
            norm_j=gather(safe_norm(v), j),
            x_dot_vj=(x * v_j).sum(1),
            x_dot_vi=(x * v_i).sum(1),
            vi_dot_vj=(v_i * v_j).sum(1),
        )
