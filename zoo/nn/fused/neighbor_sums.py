"""Filters that multiply what neighbours send: the convolution that SchNet and PaiNN are made of.

These are multilinear forms, worked off in blocks of edges small enough for the second-level cache: a CPU spends its
time on moving (E, C) products through memory, not on multiplying. ``embedding_bag`` is torch's one kernel that gathers,
weighs and sums rows without writing them out.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from zoo.nn.fused.multilinear import MultilinearForm
from zoo.nn.pairs import CSRAdjacency, EdgeBlock, Pairs
from zoo.nn.scatter import sum_by

__all__ = ["Filtered", "FilteredSum", "sum_runs"]

_BLOCK_BYTES = 512 * 1024


class FilteredSum(MultilinearForm):
    """T(g, W, h) = Σ_j→i g_i · (W_ij ∘ h_j), with g and h (N, C) or (N, K, C) and one filter W (P, C) for each pair.

    Called as ``(W, h)`` it gives the continuous-filter convolution Σ_j W_ij ∘ h_j (Schütt et al. 2017, eq. 2).
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    @property
    def rows(self) -> int:
        return self.pairs.incoming.far.shape[0]

    def partial(self, k: int, *others: Tensor) -> Tensor:
        if k == 0:
            W, h = others
            return self._spread(self.pairs.incoming, W, h)
        if k == 1:
            g, h = others
            return self._correlate(g, h)
        g, W = others
        return self._spread(self.pairs.outgoing, W, g)

    def plain(self, k: int, *others: Tensor) -> Tensor:
        p = self.pairs
        near, far = (p.source, p.target) if k == 2 else (p.target, p.source)
        if k == 1:
            g, h = others
            product = g.index_select(0, near.flatten()) * h.index_select(0, far.flatten())
            return product.unflatten(0, (-1, near.shape[1])).flatten(1, -2).sum(1)
        rows, W = others if k == 2 else others[::-1]
        message = rows.index_select(0, far.flatten()).unflatten(0, (-1, far.shape[1]))
        message = message * (W[:, None] if rows.dim() == 2 else W[:, None, None])
        return sum_by(message.flatten(0, 1), near.flatten(), rows.shape[0])

    def _spread(self, adjacency: CSRAdjacency, W: Tensor, h: Tensor) -> Tensor:
        """Σ over an atom's edges of W ∘ (h at the far end)."""
        out = torch.zeros_like(h, memory_format=torch.contiguous_format)
        rows = out.flatten(1)
        blocks = blocks_of(adjacency, rows)
        message, filters = scratch(blocks, h), scratch(blocks, W)
        for block in blocks:
            m = take(h, block.far, message)
            w = take(W, block.pair, filters)
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

    @property
    def rows(self) -> int:
        return self.pairs.incoming.far.shape[0]

    def partial(self, k: int, *others: Tensor) -> Tensor:
        return (self._of_g, self._of_W, self._of_h)[k](*others)

    def plain(self, k: int, *others: Tensor) -> Tensor:
        adjacency, p = self.pairs.incoming, self.pairs
        if k == 0:
            W, h = others
            return W.index_select(0, adjacency.pair) * h.index_select(0, adjacency.far)
        if k == 1:
            g, h = others
            return sum_by(g * h.index_select(0, adjacency.far), adjacency.pair, p.edges.shape[0])
        g, W = others
        return sum_by(g * W.index_select(0, adjacency.pair), adjacency.far, p.num_atoms)

    def _of_g(self, W: Tensor, h: Tensor) -> Tensor:
        adjacency = self.pairs.incoming
        out = h.new_empty(adjacency.far.shape[0], h.shape[1])
        blocks = blocks_of(adjacency, h)
        filters = scratch(blocks, W)
        for block in blocks:
            take(h, block.far, out[block.edges]).mul_(take(W, block.pair, filters))
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
        adjacency = self.pairs.outgoing
        out = g.new_zeros(adjacency.ptr.shape[0] - 1, g.shape[1])
        blocks = blocks_of(adjacency, g)
        message, filters = scratch(blocks, g), scratch(blocks, W)
        for block in blocks:
            assert block.edge is not None  # outgoing edges are out of the graph's order
            m = take(g, block.edge, message).mul_(take(W, block.pair, filters))
            out[block.atoms] = sum_runs(m, block.ptr)
        return out


def blocks_of(adjacency: CSRAdjacency, rows: Tensor) -> list[EdgeBlock]:
    """Blocks of edges whose messages, one of ``rows`` each, fit the cache together."""
    return adjacency.blocks(max(1, _BLOCK_BYTES // (rows.shape[1] * rows.element_size())))


def slices(length: int, rows: Tensor, terms: int) -> Iterator[slice]:
    """Consecutive slices of 0 … ``length``, such that ``terms`` of the ``rows`` for each fit the cache together."""
    step = max(1, length)
    if rows.device.type == "cpu":
        step = max(1, _BLOCK_BYTES // (terms * rows.shape[1] * rows.element_size()))
    return (slice(begin, min(begin + step, length)) for begin in range(0, length, step))


def scratch(blocks: list[EdgeBlock], like: Tensor) -> Tensor:
    """Memory that every block writes its rows to: what was just read is still in the cache."""
    return like.new_empty(max((block.far.shape[0] for block in blocks), default=0), *like.shape[1:])


def take(x: Tensor, index: Tensor, memory: Tensor) -> Tensor:
    return torch.index_select(x, 0, index, out=memory[: index.shape[0]])


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
