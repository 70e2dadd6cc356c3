"""The convolution of :class:`.neighbor_sums.FilteredSum`, with filters read from a table as they are needed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.nn.fused.neighbor_sums import FilteredSum, blocks_of, scratch, slices, sum_every, sum_runs, take
from zoo.nn.fused.radial_table import RadialLookup
from zoo.nn.fused.recomputed import Recomputed
from zoo.nn.pairs import CSRAdjacency, Pairs

__all__ = ["TableSum"]


class TableSum(Recomputed):
    """(weights, h) → Σ_j W_ij ∘ h_j (N, C), with the filters W = ``lookup.read(coefficients)`` never written out.

    ``weights`` (P, 6) are those of the lookup, h is (N, C). A row of the table is in the cache sooner than a row of the
    filters: reading six of them again for each edge costs no more than fetching one filter from memory.
    """

    def __init__(self, pairs: Pairs, lookup: RadialLookup, coefficients: Tensor) -> None:
        self.pairs = pairs
        self.sums = lookup.sums
        self.rows = lookup.sums.components
        self.table = coefficients.detach()

    def plain(self, *x: Tensor) -> tuple[Tensor, ...]:
        weights, h = x
        return (FilteredSum(self.pairs)(self.sums.partial_of(2, self.table, weights), h),)

    def value(self, *x: Tensor) -> tuple[Tensor, ...]:
        weights, h = x
        return (self._spread(self.pairs.incoming, weights, h),)

    def gradients(self, asked: tuple[bool, ...], grads: tuple[Tensor, ...], *x: Tensor) -> tuple[Tensor | None, ...]:
        weights, h = x
        g = grads[0].contiguous()
        by_weights = self._correlate(g, h, weights) if asked[0] else None
        return by_weights, self._spread(self.pairs.outgoing, weights, g) if asked[1] else None

    def _spread(self, adjacency: CSRAdjacency, weights: Tensor, h: Tensor) -> Tensor:
        """Σ over an atom's edges of W ∘ (h at the far end)."""
        out = torch.zeros_like(h, memory_format=torch.contiguous_format)
        blocks = blocks_of(adjacency, out)
        message = scratch(blocks, h)
        rows, factors = scratch(blocks, self.rows), scratch(blocks, weights)
        for block in blocks:
            places, of_place = take(self.rows, block.pair, rows), take(weights, block.pair, factors)
            W = F.embedding_bag(places, self.table, mode="sum", per_sample_weights=of_place)
            out[block.atoms] = sum_runs(W.mul_(take(h, block.far, message)), block.ptr)
        return out

    def _correlate(self, g: Tensor, h: Tensor, weights: Tensor) -> Tensor:
        """By the weights: Σ over a pair's edges of g_i ∘ h_j, times each of the pair's six rows of the table."""
        p, terms = self.pairs, self.pairs.edges.shape[1]
        out = torch.empty_like(weights)
        blocks = list(slices(out.shape[0], h, terms))
        memory = h.new_empty(blocks[0].stop if blocks else 0, h.shape[1])
        for block in blocks:
            product = g.index_select(0, p.target[block].flatten())
            product.mul_(h.index_select(0, p.source[block].flatten()))
            both = memory[: block.stop - block.start]
            sum_every(terms, product, both)
            out[block] = self.sums.dots(self.table, both, self.rows[block])
        return out
