"""The convolution of :class:`.neighbor_sums.FilteredSum`, with filters read from a table as they are needed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.nn.adjacency import CSRAdjacency, Pairs
from zoo.nn.fused.neighbor_sums import FilteredSum, blocks_of, slices, sum_every, sum_runs
from zoo.nn.fused.radial_table import RadialLookup
from zoo.nn.fused.recomputed import Recomputed
from zoo.nn.fused.scratch import Scratch
from zoo.nn.fused.torch_kernels import row_products

__all__ = ["TableSum"]


class TableSum(Recomputed):
    """(weights, h) → Σ_j W_ij ∘ h_j (N, C), with the filters W = ``lookup.read(coefficients)`` never written out.

    ``weights`` (P, 6) are those of the lookup, h is (N, C). A row of the table is in the cache sooner than a row of the
    filters: reading six of them again for each edge costs no more than fetching one filter from memory.
    """

    def __init__(self, pairs: Pairs, lookup: RadialLookup, coefficients: Tensor) -> None:
        self.pairs = pairs
        self.read = lookup.rows
        self.rows = lookup.rows.components
        self.sum = FilteredSum(pairs)
        self.coefficients = coefficients
        self.table = coefficients.detach()

    def weights(self) -> tuple[Tensor, ...]:
        return (self.coefficients,)

    def numbers(self, weights: Tensor, h: Tensor) -> int:
        return self.pairs.incoming.far.shape[0] * h.shape[1]

    def plain(self, weights: Tensor, h: Tensor) -> Tensor:
        return self.sum(self.read(self.coefficients, weights), h)

    def value(self, *x: Tensor) -> Tensor:
        weights, h = x
        return self._spread(self.pairs.incoming, weights, h)

    def gradients(self, wanted: tuple[bool, ...], grad: Tensor, *x: Tensor) -> tuple[Tensor | None, ...]:
        weights, h = x
        g = grad.contiguous()
        by_weights = self._correlate(g, h, weights) if wanted[0] else None
        return by_weights, self._spread(self.pairs.outgoing, weights, g) if wanted[1] else None

    def _spread(self, adjacency: CSRAdjacency, weights: Tensor, h: Tensor) -> Tensor:
        """Σ over an atom's edges of W ∘ (h at the far end)."""
        out = torch.zeros_like(h, memory_format=torch.contiguous_format)
        scratch = Scratch()
        for block in blocks_of(adjacency, out):
            places, of_place = scratch.rows("rows", self.rows, block.pair), scratch.rows("weights", weights, block.pair)
            W = F.embedding_bag(places, self.table, mode="sum", per_sample_weights=of_place)
            out[block.atoms] = sum_runs(W.mul_(scratch.rows("h", h, block.far)), block.ptr)
        return out

    def _correlate(self, g: Tensor, h: Tensor, weights: Tensor) -> Tensor:
        """By the weights: Σ over a pair's edges of g_i ∘ h_j, times each of the pair's six rows of the table."""
        p, terms = self.pairs, self.pairs.edges.shape[1]
        out = torch.empty_like(weights)
        scratch = Scratch()
        for block in slices(out.shape[0], h, terms):
            product = g.index_select(0, p.target[block].flatten())
            product.mul_(h.index_select(0, p.source[block].flatten()))
            both = scratch.empty("both", h, block.stop - block.start, h.shape[1])
            sum_every(terms, product, both)
            out[block] = row_products(self.table, both, self.rows[block])
        return out
