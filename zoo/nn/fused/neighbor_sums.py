"""The continuous-filter convolution of SchNet and PaiNN, in blocks of edges that fit the second-level cache.

A CPU spends its time on moving (E, C) products through memory, not on multiplying. ``embedding_bag`` is torch's one
kernel that gathers, weighs and sums rows without writing them out.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from zoo.nn.adjacency import CSRAdjacency, EdgeBlock, Pairs
from zoo.nn.fused import thresholds
from zoo.nn.fused.multilinear import MultilinearForm
from zoo.nn.fused.scratch import Scratch
from zoo.nn.scatter import gather, sum_by

__all__ = ["Filtered", "FilteredSum", "blocks_of", "slices", "sum_every", "sum_runs"]


class FilteredSum(MultilinearForm):
    """T(g, W, h) = Σ_j→i g_i · (W_ij ∘ h_j), with g and h (N, C) or (N, K, C) and one filter W (P, C) for each pair.

    Called as ``(W, h)`` it gives the continuous-filter convolution Σ_j W_ij ∘ h_j (Schütt et al. 2017, eq. 2).
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.rows = pairs.incoming.far.shape[0]

    def partial(self, k: int, *others: Tensor) -> Tensor:
        if k == 0:
            W, h = others
            return self._spread(self.pairs.incoming, W, h)
        if k == 1:
            g, h = others
            return self._correlate(g, h)
        g, W = others
        return self._spread(self.pairs.outgoing, W, g)

    def plain(self, W: Tensor, h: Tensor) -> Tensor:
        p = self.pairs
        message = gather(h, p.source.flatten()).unflatten(0, p.source.shape)
        message = message * (W[:, None] if h.dim() == 2 else W[:, None, None])
        return sum_by(message.flatten(0, 1), p.target.flatten(), h.shape[0])

    def _spread(self, adjacency: CSRAdjacency, W: Tensor, h: Tensor) -> Tensor:
        """Σ over an atom's edges of W ∘ (h at the far end)."""
        out = torch.zeros_like(h, memory_format=torch.contiguous_format)
        rows = out.flatten(1)
        scratch = Scratch()
        for block in blocks_of(adjacency, rows):
            m, w = scratch.rows("h", h, block.far), scratch.rows("W", W, block.pair)
            m.mul_(w if h.dim() == 2 else w[:, None])
            rows[block.atoms] = sum_runs(m.flatten(1), block.ptr)
        return out

    def _correlate(self, g: Tensor, h: Tensor) -> Tensor:
        """Σ over a pair's edges, and over K, of g_i ∘ h_j."""
        p = self.pairs
        C, terms = h.shape[-1], p.edges.shape[1] * h[0].numel() // h.shape[-1]
        out = h.new_empty(p.edges.shape[0], C)
        for block in slices(out.shape[0], out, terms):
            product = g.index_select(0, p.target[block].flatten())
            product.mul_(h.index_select(0, p.source[block].flatten()))
            sum_every(terms, product.view(-1, C), out[block])
        return out


class Filtered(MultilinearForm):
    """T(g, W, h) = Σ_j→i g_ij · (W_ij ∘ h_j), with g (E, C), h (N, C) and one filter W (P, C) for each pair.

    Called as ``(W, h)`` it gives the message W_ij ∘ h_j of every edge, (E, C).
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.rows = pairs.incoming.far.shape[0]

    def partial(self, k: int, *others: Tensor) -> Tensor:
        return (self._of_g, self._of_W, self._of_h)[k](*others)

    def plain(self, W: Tensor, h: Tensor) -> Tensor:
        incoming = self.pairs.incoming
        return gather(W, incoming.pair) * gather(h, incoming.far)

    def _of_g(self, W: Tensor, h: Tensor) -> Tensor:
        incoming, scratch = self.pairs.incoming, Scratch()
        out = h.new_empty(incoming.far.shape[0], h.shape[1])
        for block in blocks_of(incoming, h):
            rows = torch.index_select(h, 0, block.far, out=out[block.edges])
            rows.mul_(scratch.rows("W", W, block.pair))
        return out

    def _of_W(self, g: Tensor, h: Tensor) -> Tensor:
        p = self.pairs
        out = h.new_empty(p.edges.shape[0], h.shape[1])
        for block in slices(out.shape[0], out, p.edges.shape[1]):
            product = g.index_select(0, p.edges[block].flatten())
            product.mul_(h.index_select(0, p.source[block].flatten()))
            sum_every(p.edges.shape[1], product, out[block])
        return out

    def _of_h(self, g: Tensor, W: Tensor) -> Tensor:
        outgoing, scratch = self.pairs.outgoing, Scratch()
        out = g.new_zeros(outgoing.ptr.shape[0] - 1, g.shape[1])
        for block in blocks_of(outgoing, g):
            assert block.edge is not None  # outgoing edges are out of the graph's order
            message = scratch.rows("g", g, block.edge).mul_(scratch.rows("W", W, block.pair))
            out[block.atoms] = sum_runs(message, block.ptr)
        return out


def blocks_of(adjacency: CSRAdjacency, rows: Tensor) -> list[EdgeBlock]:
    """Blocks of edges whose messages, one of ``rows`` each, fit the cache together."""
    return adjacency.blocks(max(1, thresholds.BLOCK_BYTES // (rows.shape[1] * rows.element_size())))


def slices(length: int, rows: Tensor, terms: int) -> Iterator[slice]:
    """Consecutive slices of 0 … ``length``, such that ``terms`` of the ``rows`` for each fit the cache together."""
    step = max(1, length)
    if rows.device.type == "cpu":
        step = max(1, thresholds.BLOCK_BYTES // (terms * rows.shape[1] * rows.element_size()))
    return (slice(begin, min(begin + step, length)) for begin in range(0, length, step))


def _count(n: int, like: Tensor) -> Tensor:
    return torch.arange(n, device=like.device)


def sum_runs(rows: Tensor, ptr: Tensor) -> Tensor:
    """Sums of consecutive rows, from ptr[i] to ptr[i+1]."""
    return embedding_bag(_count(rows.shape[0], rows), rows, ptr, mode="sum", include_last_offset=True)


def sum_every(n: int, rows: Tensor, out: Tensor) -> None:
    """Sums of n consecutive rows, written to ``out``."""
    if n == 2:
        torch.add(rows[::2], rows[1::2], out=out)
    else:
        out.copy_(rows if n == 1 else embedding_bag(_count(rows.shape[0], rows).view(-1, n), rows, mode="sum"))
