"""A backbone of a few lines for tests: smooth, equivariant, with 0e and 1o features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.graph.graph import Graph
from zoo.model.model import Model
from zoo.model.readout_kinds import READOUTS
from zoo.nn import sum_by


class Toy(nn.Module):
    """h_i = (Σ_j w(z_i, z_j) ⊙ f(d_ij),  Σ_j u(z_j) ⊙ f(d_ij) x_ij) with f smooth at the cut-off."""

    def __init__(self, *, cutoff: float = 4.0, channels: int = 6) -> None:
        super().__init__()
        self.cutoff, self.channels = cutoff, channels
        self.irreps_out = f"{channels}x0e+{channels}x1o"
        self.own = nn.Embedding(100, channels)
        self.seen = nn.Embedding(100, channels)
        self.register_buffer("widths", torch.linspace(0.3, 1.5, channels), persistent=False)

    def forward(self, graph: Graph) -> Tensor:
        own, seen = self.own(graph.z), self.seen(graph.z)
        x = (graph.edge_len / self.cutoff).clamp(max=1)
        envelope = (1 - x**2) ** 3
        f = torch.exp(-graph.edge_len[:, None] * self.widths) * envelope[:, None] * seen.index_select(0, graph.source)
        scalars = own + torch.tanh(sum_by(f * own.index_select(0, graph.target), graph.target, graph.num_nodes))
        vectors = sum_by(f[:, :, None] * graph.edge_vec[:, None], graph.target, graph.num_nodes)
        return torch.cat([scalars, vectors.flatten(1)], 1)


def toy_model(*targets: str, elements: tuple[int, ...] = (1, 6, 7, 8, 14, 29), seed: int = 0, **config) -> Model:
    """A model with the given readout kinds as targets, in float64; an energy in eV by default."""
    torch.manual_seed(seed)
    units = {"energy": "eV", "intensive": "eV", "dipole": "D", "polarizability": "a0^3", "spatial_extent": "a0^2",
             "vector": "1"}
    backbone = Toy(**config)
    layout = Model(backbone, {}, units={}, elements=elements).layout
    readouts = {kind: READOUTS[kind](layout, elements, hidden=[8]) for kind in targets or ("energy",)}
    return Model(backbone, readouts, units={k: units[k] for k in readouts}, elements=elements).double().eval()
