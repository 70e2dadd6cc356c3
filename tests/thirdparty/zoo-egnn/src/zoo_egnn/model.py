"""EGNN: messages from squared distances between coordinates that move from layer to layer (Satorras et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from zoo.graph import Graph
from zoo.nn import MLP, PolynomialEnvelope, gather, sum_by


class EGNN(nn.Module):
    """Scalars (N, C) and vectors (N, V, 3), as ``Cx0e+Vx1o``.

    Args:
        cutoff: in Å.
        channels: C.
        num_layers: number of layers.
        num_vectors: V, vectors that come out; the first is how far the atom's coordinates have moved.
        num_elements: rows of the embedding.
    """

    def __init__(
        self,
        *,
        cutoff: float = 5.0,
        channels: int = 64,
        num_layers: int = 4,
        num_vectors: int = 8,
        num_elements: int = 100,
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.irreps_out = f"{channels}x0e+{num_vectors}x1o"
        self.embedding = nn.Embedding(num_elements, channels)
        self.envelope = PolynomialEnvelope(cutoff)
        self.layers = nn.ModuleList(Layer(channels, num_vectors) for _ in range(num_layers))

    def forward(self, graph: Graph) -> Tensor:
        envelope = self.envelope(graph.edge_len)[:, None]
        h = self.embedding(graph.z)
        v = h.new_zeros(graph.num_nodes, self.layers[0].num_vectors, 3)
        for layer in self.layers:
            h, v = layer(h, v, envelope, graph)
        return torch.cat([h, v.flatten(1)], 1)


class Layer(nn.Module):
    """Equations 3 to 6, with C Σ_j x_ij φ_x(m_ij) for V vectors at once; the first one moves the coordinates."""

    def __init__(self, channels: int, num_vectors: int) -> None:
        super().__init__()
        self.num_vectors = num_vectors
        self.message = MLP([2 * channels + 1, channels, channels], "silu", activate_last=True)
        self.move = MLP([channels, channels, num_vectors], "silu")
        self.update = MLP([2 * channels, channels, channels], "silu")

    def forward(self, h: Tensor, v: Tensor, envelope: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        i, j, n = graph.target, graph.source, graph.num_nodes
        moved = v[:, 0]
        x = graph.edge_vec + gather(moved, j) - gather(moved, i)
        squared = x.square().sum(1, keepdim=True)
        m = self.message(torch.cat([gather(h, i), gather(h, j), torch.log1p(squared)], 1)) * envelope
        weight = torch.tanh(self.move(m)) * envelope * 0.1
        v = v + sum_by(weight[:, :, None] * x[:, None], i, n)
        h = h + self.update(torch.cat([h, sum_by(m, i, n)], 1))
        return h, v


def upgrade(state: Mapping[str, Tensor], from_format: int) -> dict[str, Tensor]:
    """Format 1 called the embedding ``atoms``."""
    return {name.replace("backbone.atoms.", "backbone.embedding."): value for name, value in state.items()}
