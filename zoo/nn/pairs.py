"""Edges as pairs of atoms, and the two sums over neighbours that SchNet and PaiNN are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import StructureError
from zoo.graph import Graph
from zoo.nn.trilinear import TrilinearForm

__all__ = ["Pairs", "pairs"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """The E edges of a graph, reordered so that the two directions of a pair lie P rows apart.

    What depends on the distance alone is computed for P pairs and shared: edge p and edge P + p are j→i and i→j.
    A directed graph, where some edge has no reverse, has P = E and shares nothing.

    Attributes:
        share: E / P, 2 or 1.
        first: (P,) position, in the graph's order, of the first direction of each pair.
        source, target: (E,) atoms j and i of each edge j→i.
        incoming, outgoing: (E,) edges sorted by their target, and by their source.
        incoming_ptr, outgoing_ptr: (N + 1,) where each atom's edges begin in them.
    """

    share: int
    first: Tensor
    source: Tensor
    target: Tensor
    incoming: Tensor
    incoming_ptr: Tensor
    outgoing: Tensor
    outgoing_ptr: Tensor

    @cached_property
    def filtered_sum(self) -> FilteredSum:
        """(filters (P, C), h (N, …, C)) → Σ_j W_ij ∘ h_j, see :class:`FilteredSum`."""
        return FilteredSum(self)

    @cached_property
    def filtered(self) -> Filtered:
        """(filters (P, C), h (N, C)) → W_ij ∘ h_j, (E, C), see :class:`Filtered`."""
        return Filtered(self)

    @cached_property
    def directed_sum(self) -> DirectedSum:
        """(directions (E, 3), m (E, C)) → Σ_j x_ij ⊗ m_ij, see :class:`DirectedSum`."""
        return DirectedSum(self)

    def both_ways(self, vectors: Tensor) -> Tensor:
        """(P, 3) vectors of the first directions → (E, 3), the reverse edge pointing the other way."""
        return torch.cat([vectors, -vectors]) if self.share == 2 else vectors


def pairs(graph: Graph) -> Pairs:
    """The pairs of a graph's edges, made once per graph."""
    return graph._once("pairs", lambda: _make(graph))


def _make(graph: Graph) -> Pairs:
    source, target = graph.edge_index
    E = source.shape[0]
    edges = torch.arange(E, device=source.device)
    try:
        reverse = graph.reverse_edge
    except StructureError:
        outgoing = torch.argsort(source, stable=True)
        outgoing_ptr = F.pad(torch.bincount(source, minlength=graph.num_nodes).cumsum(0), (1, 0))
        return Pairs(1, edges, source, target, edges, graph.edge_ptr, outgoing, outgoing_ptr)
    P = E // 2
    first = torch.nonzero(edges < reverse)[:, 0]
    second = reverse.index_select(0, first)
    order = torch.cat([first, second])
    place = torch.empty_like(order)
    place[order] = edges
    # An atom's outgoing edges are the reverses of its incoming ones, half the list further on.
    outgoing = torch.where(place < P, place + P, place - P)
    ptr = graph.edge_ptr
    return Pairs(2, first, source[order], target[order], place, ptr, outgoing, ptr)


def _segment_sum(x: Tensor, members: Tensor, ptr: Tensor) -> Tensor:
    """Σ of the rows of x (E, …) listed by ``members`` between ptr[i] and ptr[i+1], (N, …)."""
    N = ptr.shape[0] - 1
    if members.shape[0] == 0:
        return x.new_zeros(N, *x.shape[1:])
    rows = x.reshape(x.shape[0], -1)
    # embedding_bag reads every row once and writes no product: three times as fast as index_add on a CPU.
    return F.embedding_bag(members, rows, ptr, mode="sum", include_last_offset=True).view(N, *x.shape[1:])


def _sum_directions(x: Tensor, share: int) -> Tensor:
    return x if share == 1 else x.unflatten(0, (2, x.shape[0] // 2)).sum(0)


class FilteredSum(TrilinearForm):
    """T(g, W, h) = Σ_j→i g_i · (W_ij ∘ h_j), with g, h (N, C) or (N, K, C) and filters W (P, C) shared by a pair.

    Called as ``(W, h)`` it gives the continuous-filter convolution Σ_j W_ij ∘ h_j (Schütt et al. 2017, eq. 2).
    """

    def __init__(self, edges: Pairs) -> None:
        self.edges = edges

    def d_a(self, W: Tensor, h: Tensor) -> Tensor:
        e = self.edges
        return _segment_sum(self._scaled(W, h.index_select(0, e.source)), e.incoming, e.incoming_ptr)

    def d_b(self, g: Tensor, h: Tensor) -> Tensor:
        e = self.edges
        product = g.index_select(0, e.target).mul_(h.index_select(0, e.source))
        if product.dim() == 3:
            product = product.sum(1)
        return _sum_directions(product, e.share)

    def d_c(self, g: Tensor, W: Tensor) -> Tensor:
        e = self.edges
        return _segment_sum(self._scaled(W, g.index_select(0, e.target)), e.outgoing, e.outgoing_ptr)

    def _scaled(self, W: Tensor, rows: Tensor) -> Tensor:
        filters = W if rows.dim() == 2 else W[:, None]
        rows.unflatten(0, (self.edges.share, W.shape[0])).mul_(filters)
        return rows


class Filtered(TrilinearForm):
    """T(g, W, h) = Σ_j→i g_ij · (W_ij ∘ h_j), with g (E, C), h (N, C) and filters W (P, C) shared by a pair.

    Called as ``(W, h)`` it gives the message W_ij ∘ h_j of every edge.
    """

    def __init__(self, edges: Pairs) -> None:
        self.edges = edges

    def d_a(self, W: Tensor, h: Tensor) -> Tensor:
        rows = h.index_select(0, self.edges.source)
        rows.view(self.edges.share, *W.shape).mul_(W)
        return rows

    def d_b(self, g: Tensor, h: Tensor) -> Tensor:
        product = h.index_select(0, self.edges.source).mul_(g)
        return _sum_directions(product, self.edges.share)

    def d_c(self, g: Tensor, W: Tensor) -> Tensor:
        e = self.edges
        scaled = (g.view(e.share, *W.shape) * W).view_as(g)
        return _segment_sum(scaled, e.outgoing, e.outgoing_ptr)


class DirectedSum(TrilinearForm):
    """T(g, x, m) = Σ_j→i Σ_k x_ijk g_ik · m_ij, with g (N, 3, C), vectors x (E, 3) and messages m (E, C).

    Called as ``(x, m)`` it gives Σ_j x_ij ⊗ m_ij, (N, 3, C), without the (E, 3, C) products.
    """

    def __init__(self, edges: Pairs) -> None:
        e = edges
        E, N = e.source.shape[0], e.incoming_ptr.shape[0] - 1
        three = torch.arange(3, device=e.source.device)
        # Three bags for each atom, one a component, so that its messages stay in the nearest cache.
        degree = e.incoming_ptr.diff().repeat_interleave(3)
        self.ptr = F.pad(degree.cumsum(0), (1, 0))
        begin = self.ptr[:-1] - e.incoming_ptr[:-1].repeat_interleave(3)
        slot = torch.arange(3 * E, device=e.source.device) - torch.repeat_interleave(begin, degree, output_size=3 * E)
        component = torch.repeat_interleave(three.repeat(N), degree, output_size=3 * E)
        self.members = e.incoming.index_select(0, slot)
        self.weights = self.members * 3 + component
        self.rows = (e.target[:, None] * 3 + three).view(-1)
        self.row_ptr = torch.arange(0, 3 * E + 1, 3, device=e.source.device)
        self.row_owner = torch.arange(E, device=e.source.device).repeat_interleave(3)

    def d_a(self, x: Tensor, m: Tensor) -> Tensor:
        N = (self.ptr.shape[0] - 1) // 3
        if m.shape[0] == 0:
            return m.new_zeros(N, 3, m.shape[1])
        weights = x.reshape(-1).index_select(0, self.weights)
        return F.embedding_bag(
            self.members, m, self.ptr, mode="sum", per_sample_weights=weights, include_last_offset=True
        ).view(N, 3, -1)

    def d_b(self, g: Tensor, m: Tensor) -> Tensor:
        if m.shape[0] == 0:
            return m.new_zeros(0, 3)
        rows = g.reshape(-1, g.shape[-1])
        # The gradient of embedding_bag by its weights: the products of paired rows, without gathering either.
        dot = torch.ops.aten._embedding_bag_per_sample_weights_backward
        return dot(m.contiguous(), rows, self.rows, self.row_ptr[:-1], self.row_owner, 0, -1).view(-1, 3)

    def d_c(self, g: Tensor, x: Tensor) -> Tensor:
        if x.shape[0] == 0:
            return g.new_zeros(0, g.shape[-1])
        rows = g.reshape(-1, g.shape[-1])
        return F.embedding_bag(
            self.rows, rows, self.row_ptr, mode="sum", per_sample_weights=x.reshape(-1), include_last_offset=True
        )
