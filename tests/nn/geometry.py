"""Small structures and rotations for the tests of this folder."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges


def graph_of(pos: Tensor, cutoff: float) -> Graph:
    """One structure with edges, edge vectors carrying the history of ``pos``."""
    graph = add_edges(Graph.from_tensors(torch.full((len(pos),), 6), pos.detach()), cutoff)
    vec = pos[graph.source] - pos[graph.target]
    return graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1))


def rotation(seed: int, *, reflect: bool = False) -> Tensor:
    """A random rotation (3, 3), times −1 if asked."""
    R, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))
    return R * torch.linalg.det(R) * (-1 if reflect else 1)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
