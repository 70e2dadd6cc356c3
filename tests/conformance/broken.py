"""One sound backbone, and others that each break one promise: what the kit must see."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.graph.graph import Graph
from zoo.nn import sum_by


class Sound(nn.Module):
    """Two rounds of messages over distances, and vectors Σ_j f(d_ij) x_ij; every step can be broken by itself."""

    def __init__(self, *, cutoff: float = 4.0, channels: int = 6) -> None:
        super().__init__()
        self.cutoff, self.channels = cutoff, channels
        self.irreps_out = f"{channels}x0e+{channels}x1o"
        self.own = nn.Embedding(100, channels)
        self.seen = nn.Embedding(100, channels)
        self.mix = nn.Linear(channels, channels)
        self.register_buffer("widths", torch.linspace(0.3, 1.5, channels), persistent=False)

    def forward(self, graph: Graph) -> Tensor:
        graph = self.edges(graph)
        vec, length = self.geometry(graph)
        source, target, N = graph.source, graph.target, graph.num_nodes
        f = self.filters(length, graph)
        s = self.own(graph.z)
        s = s + torch.tanh(sum_by(f * self.seen(graph.z).index_select(0, source), target, N))
        s = s + torch.tanh(self.mix(sum_by(f * s.index_select(0, source), target, N)))
        v = sum_by(f[:, :, None] * vec[:, None] * s.index_select(0, source)[:, :, None], target, N)
        return self.out(*self.features(s, v, graph))

    def edges(self, graph: Graph) -> Graph:
        return graph

    def geometry(self, graph: Graph) -> tuple[Tensor, Tensor]:
        return graph.edge_vec, graph.edge_len

    def envelope(self, length: Tensor) -> Tensor:
        return (1 - (length / self.cutoff).clamp(max=1) ** 2) ** 3

    def filters(self, length: Tensor, graph: Graph) -> Tensor:
        return torch.exp(-length[:, None] * self.widths) * self.envelope(length)[:, None]

    def features(self, s: Tensor, v: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        return s, v

    def out(self, s: Tensor, v: Tensor) -> Tensor:
        return torch.cat([s, v.flatten(1)], 1)


class _Negated(torch.autograd.Function):
    """A kernel whose hand-written backward has the wrong sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


class WrongForceSign(Sound):
    def geometry(self, graph):
        return graph.edge_vec, _Negated.apply(graph.edge_len)


class WrongStressSign(Sound):
    """Rebuilds edge vectors with a cell whose gradient points the other way."""

    def geometry(self, graph):
        vec = graph.pos[graph.source] - graph.pos[graph.target]
        if graph.edge_shift is not None:
            cell = 2 * graph.cell.detach() - graph.cell
            vec = vec + torch.einsum("ek,ekd->ed", graph.edge_shift, cell[graph.batch[graph.target]])
        vec = vec.to(self.mix.weight.dtype)
        return vec, vec.norm(dim=1)


class ParityLeak(Sound):
    """A cross product of two vectors does not change sign under reflection, and is called 1o."""

    def features(self, s, v, graph):
        return s, v + torch.linalg.cross(v, v.roll(1, 1))


class NeighbourCap(Sound):
    def edges(self, graph):
        nearest = torch.argsort(graph.edge_len.detach())
        rank = torch.zeros_like(nearest)
        for i in range(graph.num_nodes):
            mine = nearest[graph.target[nearest] == i]
            rank[mine] = torch.arange(len(mine))
        keep = rank < 32
        shift = None if graph.edge_shift is None else graph.edge_shift[keep]
        return graph.replace(edge_index=graph.edge_index[:, keep], edge_vec=graph.edge_vec[keep],
                             edge_len=graph.edge_len[keep], edge_shift=shift)


class MissingImage(Sound):
    """One edge for each pair of atoms, whatever images there are."""

    def edges(self, graph):
        pair = (graph.source * graph.num_nodes + graph.target).numpy()
        keep = torch.from_numpy(np.sort(np.unique(pair, return_index=True)[1]))
        shift = None if graph.edge_shift is None else graph.edge_shift[keep]
        return graph.replace(edge_index=graph.edge_index[:, keep], edge_vec=graph.edge_vec[keep],
                             edge_len=graph.edge_len[keep], edge_shift=shift)


class BatchLeak(Sound):
    def features(self, s, v, graph):
        return s - s.mean(0), v


class HardCutoff(Sound):
    def envelope(self, length):
        return torch.ones_like(length)


class KinkedCutoff(Sound):
    """Continuous, but the force jumps."""

    def envelope(self, length):
        return 1 - length / self.cutoff


class BentCutoff(Sound):
    """Forces are continuous, but the second derivative jumps; it claims otherwise."""

    def envelope(self, length):
        return (1 - (length / self.cutoff).clamp(max=1)) ** 2


class CuspedLengths(Sound):
    """Adds the lengths of its vectors, which have no second derivative where a vector vanishes."""

    def features(self, s, v, graph):
        return s + torch.tanh((v.square().sum(2) + 1e-8).sqrt()), v


class SinglePrecisionConstant(Sound):
    """Vectors through a rotated frame and back, with a rotation of seven digits."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        frame = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
        self.register_buffer("frame", frame.float(), persistent=False)

    def features(self, s, v, graph):
        frame = self.frame.to(v.dtype)
        return s, v @ frame @ frame.T


class Squeezed(Sound):
    def out(self, s, v):
        return torch.cat([s, v.flatten(1)], 1).squeeze()


class StaleCache(Sound):
    def filters(self, length, graph):
        key = (graph.num_nodes, graph.num_edges)
        if getattr(self, "kept", (None,))[0] != key:
            self.kept = key, super().filters(length, graph)
        return self.kept[1].detach().to(length.dtype)


class ChangesInput(Sound):
    def edges(self, graph):
        graph.z.clamp_(max=7)
        return graph


class UnusedParameter(Sound):
    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.idle = nn.Linear(3, 3)


class ReadsPositions(Sound):
    def features(self, s, v, graph):
        return s + 0.01 * graph.pos[:, :1].to(s.dtype), v


class SharedTensor(Sound):
    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.seen.weight = self.own.weight


class UnseededWeights(Sound):
    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.mix.weight.data = torch.from_numpy(np.random.default_rng().standard_normal((self.channels, self.channels)))


class DrawsNumbers(Sound):
    def features(self, s, v, graph):
        return s + 1e-30 * torch.rand_like(s), v


class ReadsData(Sound):
    """Looks at the distances to choose between two ways: a recorded graph could hold only one of them."""

    def envelope(self, length):
        smooth = super().envelope(length)
        return smooth if bool((length.detach() < self.cutoff).any()) else smooth.clone()


class NoAtoms(Sound):
    """Crashes where there is nothing to sum."""

    def edges(self, graph):
        graph.edge_len.min()
        return graph
