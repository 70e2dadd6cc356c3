"""The messages of a layer of PaiNN, summed over neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.graph import Graph
from zoo.nn import EdgeBlock, Filtered, FilteredSum, OuterSum, Recomputed, Scratch, pairs, sum_runs

__all__ = ["Edges", "MessageSums"]

_BLOCK_BYTES = 256 * 1024
"""Of one row (C) for each edge of a block; the dozen of them that a block needs are a little too many for the cache."""


class Edges:
    """x_ij/d_ij (E, 3) of every edge, and the sums over neighbours j of each atom i, shared by all layers."""

    def __init__(self, graph: Graph) -> None:
        self.pairs = pairs(graph)
        self.direction = graph.edge_vec / graph.edge_len[:, None]
        self.filtered = Filtered(self.pairs)  # (W, h) → W_ij ∘ h_j
        self.filtered_sum = FilteredSum(self.pairs)  # (W, h) → Σ_j W_ij ∘ h_j
        self.outer_sum = OuterSum(graph.target, graph.num_nodes, 3, is_sorted=True)  # (x, m) → Σ_j x_ij ⊗ m_ij


class MessageSums(Recomputed):
    """Δs (N, C) and Δv (N, 3, C): sums over j of W_s ∘ φ_s, and of W_vs ∘ φ_vs ⊗ x_ij/d_ij + W_vv ∘ u.

    Filters are ``basis`` (P, K) times W (3C, K), whose rows are W_s, W_vs, W_vv; φ_s, φ_vs (N, C) and u (N, 3, C), if
    there are vectors yet, are the neighbours'. The fused form takes all sums in one pass over the edges.
    """

    def __init__(self, edges: Edges, weight: Tensor) -> None:
        self.edges = edges
        self.pairs = edges.pairs
        self.weight = weight
        self.channels = weight.shape[0] // 3
        self.size = max(1, _BLOCK_BYTES // (self.channels * weight.element_size()))

    def weights(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    def numbers(self, basis: Tensor, direction: Tensor, phi_s: Tensor, phi_vs: Tensor, u: Tensor | None) -> int:
        return direction.shape[0] * phi_s.shape[1]

    def plain(
        self, basis: Tensor, direction: Tensor, phi_s: Tensor, phi_vs: Tensor, u: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        W_s, W_vs, W_vv = self.weight.chunk(3)
        ds = self.edges.filtered_sum(basis @ W_s.T, phi_s)
        dv = self.edges.outer_sum(direction, self.edges.filtered(basis @ W_vs.T, phi_vs))
        return ds, dv if u is None else dv + self.edges.filtered_sum(basis @ W_vv.T, u)

    def fused(
        self, basis: Tensor, direction: Tensor, phi_s: Tensor, phi_vs: Tensor, u: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        sent = phi_s if u is None else torch.cat([phi_s, u.flatten(1)], 1)
        return _parted(self.apply(basis, direction, phi_vs, sent))

    def differentiable(self, *x: Tensor) -> Tensor:
        """[Δs, Δv] (N, 4C) from the basis, x_ij/d_ij, φ_vs and [φ_s, u] (N, 4C), or φ_s alone."""
        basis, direction, phi, sent = x
        phi_s, u = (sent, None) if sent.shape[1] == self.channels else _parted(sent)
        ds, dv = self.plain(basis, direction, phi_s, phi, u)
        return torch.cat([ds, dv.flatten(1)], 1)

    def value(self, *x: Tensor) -> Tensor:
        basis, direction, phi, rest = x
        C, adjacency, with_vectors = self.channels, self.pairs.incoming, rest.shape[1] > phi.shape[1]
        out = phi.new_zeros(phi.shape[0], 4 * C)
        blocks = adjacency.blocks(self.size)
        scratch, weight = Scratch(), self._used(with_vectors)
        for block in blocks:
            W_s, W_vs, W_vv = self._filters(scratch, block, basis, weight)
            unit = direction[block.edges, :, None]
            m_vs = scratch.rows("phi", phi, block.far).mul_(W_vs)
            m = scratch.empty("m", phi, block.far.shape[0], 4 * C)
            vectors = m[:, C:].unflatten(1, (3, C))
            if with_vectors:
                torch.index_select(rest, 0, block.far, out=m)
                m[:, :C].mul_(W_s)
                vectors.mul_(W_vv[:, None]).addcmul_(unit, m_vs[:, None])
            else:
                torch.mul(scratch.rows("rest", rest, block.far), W_s, out=m[:, :C])
                torch.mul(unit, m_vs[:, None], out=vectors)
            out[block.atoms] = sum_runs(m, block.ptr)
        return out

    def gradients(self, wanted: tuple[bool, ...], grad: Tensor, *x: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by atom j, over its outgoing edges: its message times the output gradients of its neighbours."""
        basis, direction, phi, rest = x
        C, adjacency, with_vectors = self.channels, self.pairs.outgoing, rest.shape[1] > phi.shape[1]
        grad = grad.contiguous()
        by_basis, by_direction = torch.zeros_like(basis), torch.empty_like(direction)
        of_atoms = wanted[2] or wanted[3]
        by_phi, by_rest = (torch.zeros_like(a) if of_atoms else None for a in (phi, rest))
        blocks = adjacency.blocks(self.size)
        scratch, weight = Scratch(), self._used(with_vectors)
        for block in blocks:
            W_s, W_vs, W_vv = self._filters(scratch, block, basis, weight)
            assert block.edge is not None, "edges by source are not in the graph's order"
            unit = scratch.rows("unit", direction, block.edge)[:, :, None]
            g = scratch.rows("g", grad, block.far)
            g_s, g_v = g[:, :C], g[:, C:].unflatten(1, (3, C))
            along = _dot(g_v, unit, scratch.empty("along", phi, block.far.shape[0], C))

            near = _near(block)
            own_phi, own = scratch.rows("phi", phi, near), scratch.rows("rest", rest, near)
            product = scratch.empty("product", phi, block.far.shape[0], weight.shape[0])
            torch.mul(g_s, own[:, :C], out=product[:, :C])
            torch.mul(along, own_phi, out=product[:, C : 2 * C])
            if with_vectors:
                _dot(g_v, own[:, C:].unflatten(1, (3, C)), product[:, 2 * C :])
            by_basis.index_add_(0, block.pair, product @ weight)

            m_vs = own_phi.mul_(W_vs)
            turned = torch.mul(g_v, m_vs[:, None], out=scratch.empty("turned", phi, block.far.shape[0], 3, C))
            by_direction.index_copy_(0, block.edge, turned.sum(2))

            if of_atoms:
                by_phi[block.atoms] = sum_runs(along.mul_(W_vs), block.ptr)
                g_s.mul_(W_s)
                if with_vectors:
                    g_v.mul_(W_vv[:, None])
                    by_rest[block.atoms] = sum_runs(g, block.ptr)
                else:
                    by_rest[block.atoms] = sum_runs(g_s.contiguous(), block.ptr)
        return by_basis, by_direction, by_phi, by_rest

    def _used(self, with_vectors: bool) -> Tensor:
        return self.weight if with_vectors else self.weight[: 2 * self.channels]

    def _filters(self, scratch: Scratch, block: EdgeBlock, basis: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """W_s, W_vs and, of a weight that has it, W_vv of a block's edges, (b, C) each."""
        rows = scratch.rows("basis", basis, block.pair)
        W = torch.mm(rows, weight.T, out=scratch.empty("W", rows, rows.shape[0], weight.shape[0]))
        C = self.channels
        return W[:, :C], W[:, C : 2 * C], W[:, 2 * C :]


def _parted(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 4C) → scalars (N, C) and vectors (N, 3, C)."""
    scalars, vectors = rows.split([rows.shape[1] // 4, rows.shape[1] // 4 * 3], 1)
    return scalars, vectors.unflatten(1, (3, -1))


def _dot(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """Σ over three components, (b, 3, C) and (b, 3, C) or (b, 3, 1) → (b, C)."""
    torch.mul(a[:, 0], b[:, 0], out=out)
    return out.addcmul_(a[:, 1], b[:, 1]).addcmul_(a[:, 2], b[:, 2])


def _near(block: EdgeBlock) -> Tensor:
    """(b,) the atom that each edge of a block is sorted by."""
    atoms = torch.arange(block.atoms.start, block.atoms.stop)
    return torch.repeat_interleave(atoms, block.ptr.diff(), output_size=block.far.shape[0])
