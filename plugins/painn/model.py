"""PaiNN: equivariant message passing with scalar and vector features (Schütt, Unke & Gastegger, ICML 2021)."""

from __future__ import annotations

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.graph import Graph
from zoo.nn import MLP, BesselBasis, CosineCutoff, GaussianBasis, dense, is_traced
from zoo.plugin import ZooError

from .messages import Edges, MessageSums

_MANY_PAIRS = 4096
"""From here on the filters' basis is filled up with zeros: matrix products are quicker with 24 columns than with 21."""


class PaiNN(nn.Module):
    """Scalars s (N, C) and vectors v (N, 3, C), updated by messages from neighbours and by mixing on each atom.

    Args:
        cutoff: in Å.
        channels: C, scalar and vector features per atom.
        num_layers: pairs of message and update blocks.
        num_radial: radial basis functions.
        radial: "bessel" (the paper's sin(nπd/c)/d) or "gaussian".
        activation: name of the non-linearity of every block.
        num_elements: rows of the embedding; atomic numbers are below it.
        epsilon: ε in ‖Vv‖ = √(Σ (Vv)² + ε), which keeps gradients finite at v = 0. Where symmetry makes v vanish, as on
            the sites of diamond, second derivatives are of order ε^(−1/2): the published 1e-8 makes phonons meaningless
            there; use about 0.1 for force fields of crystals.

    Raises:
        ZooError: unknown ``radial`` or ``activation``.
    """

    def __init__(
        self,
        *,
        cutoff: float = 5.0,
        channels: PositiveInt = 128,
        num_layers: PositiveInt = 3,
        num_radial: PositiveInt = 20,
        radial: str = "bessel",
        activation: str = "silu",
        num_elements: PositiveInt = 100,
        epsilon: NonNegativeFloat = 1e-8,
    ) -> None:
        super().__init__()
        if radial not in ("bessel", "gaussian"):
            raise ZooError(f"unknown radial basis '{radial}'. Fix: use 'bessel' or 'gaussian'")
        self.cutoff = cutoff
        self.channels = channels
        self.irreps_out = f"{channels}x0e+{channels}x1o"
        self.embedding = nn.Embedding(num_elements, channels, padding_idx=0)
        self.basis = BesselBasis(num_radial, cutoff) if radial == "bessel" else GaussianBasis(num_radial, cutoff)
        self.envelope = CosineCutoff(cutoff)
        self.messages = nn.ModuleList(Message(channels, num_radial, activation) for _ in range(num_layers))
        self.updates = nn.ModuleList(Update(channels, activation, epsilon) for _ in range(num_layers))

    def forward(self, graph: Graph) -> Tensor:
        edges = Edges(graph)
        distance = graph.edge_len.index_select(0, edges.pairs.first)
        # The column of ones is the filters' bias: the cut-off then multiplies (P, 21) numbers and not (P, 3C).
        basis = torch.cat([self.basis(distance), torch.ones_like(distance)[:, None]], 1)
        basis = basis * self.envelope(distance)[:, None]
        if not is_traced() and distance.shape[0] > _MANY_PAIRS:
            basis = F.pad(basis, (0, -basis.shape[1] % 8))

        s = self.embedding(graph.z)
        v: Tensor | None = None  # None stands for zero vectors in the first message block
        for message, update in zip(self.messages, self.updates):
            s, v = message(s, v, basis, edges)
            s, v = update(s, v)
        return torch.cat([s, v.transpose(1, 2).flatten(1)], 1)


class Message(nn.Module):
    """Equations 7 and 8: messages from the neighbours.

    Δs_i = Σ_j φ_s(s_j) ∘ W_s(d_ij)
    Δv_i = Σ_j φ_vs(s_j) ∘ W_vs(d_ij) ⊗ x_ij/d_ij + Σ_j v_j ∘ φ_vv(s_j) ∘ W_vv(d_ij)
    """

    def __init__(self, channels: int, num_radial: int, activation: str) -> None:
        super().__init__()
        self.phi = MLP([channels, channels, 3 * channels], activation)  # rows: φ_s, φ_vs, φ_vv
        self.filter = dense(num_radial, 3 * channels)  # rows: W_s, W_vs, W_vv

    def forward(self, s: Tensor, v: Tensor | None, basis: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        phi_s, phi_vs, phi_vv = self.phi(s).chunk(3, dim=1)
        W = torch.cat([self.filter.weight, self.filter.bias[:, None]], 1)
        if basis.shape[1] > W.shape[1]:
            W = F.pad(W, (0, basis.shape[1] - W.shape[1]))
        # φ_vv(s_j) belongs to the neighbour alone, so it multiplies N vectors before they are gathered, and not E.
        u = None if v is None else phi_vv[:, None] * v
        ds, dv = MessageSums(edges, W)(basis, edges.direction, phi_s, phi_vs, u)
        return s + ds, dv if v is None else v + dv


class Update(nn.Module):
    """Equations 9 and 10: scalars and vectors of an atom mix.

    Δs = a_ss(s, ‖Vv‖) + a_sv(s, ‖Vv‖) ∘ ⟨Uv, Vv⟩
    Δv = a_vv(s, ‖Vv‖) ∘ Uv
    """

    def __init__(self, channels: int, activation: str, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.mix = dense(channels, 2 * channels, bias=False)  # rows: V, U
        self.a = MLP([2 * channels, channels, 3 * channels], activation)  # rows: a_ss, a_vv, a_sv

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        Vv, Uv = self.mix(v).chunk(2, dim=2)
        norm = (Vv.square().sum(1) + self.epsilon).sqrt()
        a_ss, a_vv, a_sv = self.a(torch.cat([s, norm], 1)).chunk(3, dim=1)
        return s + a_ss + a_sv * (Uv * Vv).sum(1), v + a_vv[:, None] * Uv
