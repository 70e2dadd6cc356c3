"""The two sums over neighbours that SchNet and PaiNN are made of.

Both are multilinear forms, worked off in blocks of edges small enough for the second-level cache: a CPU spends its time
on moving (E, C) products through memory, not on multiplying. ``embedding_bag`` is torch's one kernel that gathers,
weighs and sums rows without writing them out.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.functional import embedding_bag

from zoo.nn.multilinear import MultilinearForm
from zoo.nn.pairs import Block, Fan, Pairs

__all__ = ["DirectedSum", "Filtered", "FilteredSum"]

_BLOCK_BYTES = 512 * 1024


class FilteredSum(MultilinearForm):
    """T(g, W, h) = Σ_j→i g_i · (W_ij ∘ h_j), with g and h (N, C) or (N, K, C) and one filter W (P, C) for each pair.

    Called as ``(W, h)`` it gives the continuous-filter convolution Σ_j W_ij ∘ h_j (Schütt et al. 2017, eq. 2).
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def partial(self, k: int, *others: Tensor) -> Tensor:
        if k == 0:
            W, h = others
            return self._spread(self.pairs.incoming, W, h)
        if k == 1:
            g, h = others
            return self._correlate(g, h)
        g, W = others
        return self._spread(self.pairs.outgoing, W, g)

    def _spread(self, fan: Fan, W: Tensor, h: Tensor) -> Tensor:
        """Σ over an atom's edges of W ∘ (h at the far end)."""
        out = torch.zeros_like(h, memory_format=torch.contiguous_format)
        rows = out.flatten(1)
        blocks = _blocks(fan, rows)
        message, filters = _scratch(blocks, h), _scratch(blocks, W)
        for block in blocks:
            m = _take(h, block.far, message)
            w = _take(W, block.pair, filters)
            m.mul_(w if h.dim() == 2 else w[:, None])
            rows[block.atoms] = _sum_runs(m.flatten(1), block.ptr)
        return out

    def _correlate(self, g: Tensor, h: Tensor) -> Tensor:
        """Σ over a pair's edges, and over K, of g_i ∘ h_j."""
        p = self.pairs
        C, terms = h.shape[-1], p.edges.shape[1] * h[0].numel() // h.shape[-1]
        out = h.new_empty(p.edges.shape[0], C)
        for block in _slices(out, terms):
            product = g.index_select(0, p.target[block].flatten())
            product.mul_(h.index_select(0, p.source[block].flatten()))
            out[block] = _sum_every(terms, product.view(-1, C))
        return out


class Filtered(MultilinearForm):
    """T(g, W, h) = Σ_j→i g_ij · (W_ij ∘ h_j), with g (E, C), h (N, C) and one filter W (P, C) for each pair.

    Called as ``(W, h)`` it gives the message W_ij ∘ h_j of every edge, (E, C).
    """

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def partial(self, k: int, *others: Tensor) -> Tensor:
        return (self._of_g, self._of_W, self._of_h)[k](*others)

    def _of_g(self, W: Tensor, h: Tensor) -> Tensor:
        fan = self.pairs.incoming
        out = h.new_empty(fan.far.shape[0], h.shape[1])
        blocks = _blocks(fan, h)
        filters = _scratch(blocks, W)
        for block in blocks:
            _take(h, block.far, out[block.edges]).mul_(_take(W, block.pair, filters))
        return out

    def _of_W(self, g: Tensor, h: Tensor) -> Tensor:
        p = self.pairs
        out = h.new_empty(p.edges.shape[0], h.shape[1])
        for block in _slices(out, p.edges.shape[1]):
            product = g.index_select(0, p.edges[block].flatten())
            product.mul_(h.index_select(0, p.source[block].flatten()))
            out[block] = _sum_every(p.edges.shape[1], product)
        return out

    def _of_h(self, g: Tensor, W: Tensor) -> Tensor:
        fan = self.pairs.outgoing
        out = g.new_zeros(fan.ptr.shape[0] - 1, g.shape[1])
        blocks = _blocks(fan, g)
        message, filters = _scratch(blocks, g), _scratch(blocks, W)
        for block in blocks:
            m = _take(g, block.edge, message).mul_(_take(W, block.pair, filters))
            out[block.atoms] = _sum_runs(m, block.ptr)
        return out


class DirectedSum(MultilinearForm):
    """T(g, x, m) = Σ_j→i Σ_k x_ijk g_ik · m_ij, with g (N, 3, C), vectors x (E, 3) and messages m (E, C).

    Called as ``(x, m)`` it gives Σ_j x_ij ⊗ m_ij, (N, 3, C), without the (E, 3, C) products.
    """

    def __init__(self, pairs: Pairs) -> None:
        ptr = pairs.incoming.ptr
        E, N = pairs.incoming.far.shape[0], ptr.shape[0] - 1
        xyz = _count(3, ptr)
        # Each atom's edges are listed three times, for x, y and z in turn: its messages are read from memory once.
        degree = ptr.diff().repeat_interleave(3)
        self.ptr = F.pad(degree.cumsum(0), (1, 0))
        shift = self.ptr[:-1] - ptr[:-1].repeat_interleave(3)
        self.edges = _count(3 * E, ptr) - torch.repeat_interleave(shift, degree, output_size=3 * E)
        self.places = self.edges * 3 + torch.repeat_interleave(xyz.repeat(N), degree, output_size=3 * E)
        target = torch.repeat_interleave(ptr.diff(), output_size=E)
        self.target_xyz = target[:, None] * 3 + xyz

    def partial(self, k: int, *others: Tensor) -> Tensor:
        return (self._of_g, self._of_x, self._of_m)[k](*others)

    def _of_g(self, x: Tensor, m: Tensor) -> Tensor:
        weights = x.flatten().index_select(0, self.places)
        rows = embedding_bag(self.edges, m, self.ptr, mode="sum", per_sample_weights=weights, include_last_offset=True)
        return rows.view(-1, 3, m.shape[1])

    def _of_x(self, g: Tensor, m: Tensor) -> Tensor:
        # This is how embedding_bag differentiates by its weights; it gathers nothing.
        count = _count(m.shape[0], m)
        dots = torch.ops.aten._embedding_bag_per_sample_weights_backward
        rows, owners = self.target_xyz.flatten(), count.repeat_interleave(3)
        return dots(m.contiguous(), g.reshape(-1, m.shape[1]), rows, count * 3, owners, 0, -1).view(-1, 3)

    def _of_m(self, g: Tensor, x: Tensor) -> Tensor:
        return embedding_bag(self.target_xyz, g.reshape(-1, g.shape[2]), mode="sum", per_sample_weights=x)


def _blocks(fan: Fan, rows: Tensor) -> list[Block]:
    """Blocks of edges whose messages, one of ``rows`` each, fit the cache together."""
    return fan.blocks(max(1, _BLOCK_BYTES // (rows.shape[1] * rows.element_size())))


def _slices(out: Tensor, terms: int) -> Iterator[slice]:
    """Consecutive slices of ``out`` such that ``terms`` times as many rows fit the cache together."""
    length, step = out.shape[0], out.shape[0]
    if out.device.type == "cpu":
        step = max(1, _BLOCK_BYTES // (terms * out.shape[1] * out.element_size()))
    return (slice(begin, begin + step) for begin in range(0, length, max(step, 1)))


def _scratch(blocks: list[Block], like: Tensor) -> Tensor:
    """Memory that every block writes its rows to: what was just read is still in the cache."""
    return like.new_empty(max((block.far.shape[0] for block in blocks), default=0), *like.shape[1:])


def _take(x: Tensor, index: Tensor, scratch: Tensor) -> Tensor:
    return torch.index_select(x, 0, index, out=scratch[: index.shape[0]])


def _count(n: int, like: Tensor) -> Tensor:
    return torch.arange(n, device=like.device)


def _sum_runs(rows: Tensor, ptr: Tensor) -> Tensor:
    """Sums of consecutive rows, from ptr[i] to ptr[i+1]."""
    return embedding_bag(_count(rows.shape[0], rows), rows, ptr, mode="sum", include_last_offset=True)


def _sum_every(n: int, rows: Tensor) -> Tensor:
    """Sums of n consecutive rows."""
    return rows if n == 1 else embedding_bag(_count(rows.shape[0], rows).view(-1, n), rows, mode="sum")
