"""Sums of outer products: scalars that become vectors, and tables that are read between their rows."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.nn.fused.multilinear import MultilinearForm
from zoo.nn.fused.torch_kernels import row_products
from zoo.nn.scatter import gather, sum_by

__all__ = ["OuterSum", "RowSum"]


class OuterSum(MultilinearForm):
    """T(g, x, m) = Σ_e Σ_k x_ek g_t(e)k · m_e, with g (N, K, C), x (E, K), m (E, C) and a target t(e) for each row e.

    Called as ``(x, m)`` it gives Σ_e x_e ⊗ m_e over the rows of each target, (N, K, C), without the (E, K, C)
    products; with x_e = x_ij/d_ij and messages m_ij it turns scalars into vectors. :class:`RowSum` goes the other way.

    Args:
        target: (E,) t(e).
        num_targets: N.
        num_components: K.
        is_sorted: whether ``target`` ascends.
        overlapping: g is a table (N + K − 1, C), of which target i has the K rows from i on.
    """

    def __init__(
        self,
        target: Tensor,
        num_targets: int,
        num_components: int,
        *,
        is_sorted: bool,
        overlapping: bool = False,
    ) -> None:
        self.target = target
        self.num_targets = num_targets
        self.num_components = num_components
        self.is_sorted = is_sorted
        self.overlapping = overlapping
        self.rows = target.shape[0]

    def partial(self, k: int, *others: Tensor) -> Tensor:
        return (self._of_g, self._of_x, self._of_m)[k](*others)

    def plain(self, *others: Tensor) -> Tensor:
        x, m = others
        outer = x[:, :, None] * m[:, None]
        if not self.overlapping:
            return sum_by(outer, self.target, self.num_targets)
        return sum_by(outer.flatten(0, 1), self.components.flatten(), self.num_targets + self.num_components - 1)

    def _of_g(self, x: Tensor, m: Tensor) -> Tensor:
        rows, ptr, places = self._by_target
        weights = x.flatten().index_select(0, places)
        sums = F.embedding_bag(rows, m, ptr, mode="sum", per_sample_weights=weights, include_last_offset=True)
        sums = sums.view(self.num_targets, self.num_components, m.shape[1])
        if not self.overlapping:
            return sums
        table = m.new_zeros(self.num_targets + self.num_components - 1, m.shape[1])
        for k in range(self.num_components):
            table[k : k + self.num_targets] += sums[:, k]
        return table

    def _of_x(self, g: Tensor, m: Tensor) -> Tensor:
        return row_products(g.reshape(-1, g.shape[-1]), m, self.components)

    def _of_m(self, g: Tensor, x: Tensor) -> Tensor:
        table = g.reshape(-1, g.shape[-1])
        return F.embedding_bag(self.components, table, mode="sum", per_sample_weights=x.contiguous())

    @cached_property
    def components(self) -> Tensor:
        """(E, K) rows, in a table of all components, of each target's own."""
        stride = 1 if self.overlapping else self.num_components
        return self.target[:, None] * stride + self._count(self.num_components)

    @cached_property
    def _by_target(self) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of each target, listed K times, once a component, so that they are read from memory once.

        Gives (K·E,) rows, (K·N + 1,) where each target's component begins, and (K·E,) places in x.
        """
        E, K, N = self.target.shape[0], self.num_components, self.num_targets
        degree = torch.bincount(self.target, minlength=N)
        ptr = F.pad(degree.repeat_interleave(K).cumsum(0), (1, 0))
        shift = ptr[:-1] - (degree.cumsum(0) - degree).repeat_interleave(K)
        # Component c of target i: a bag of the same rows as the component before it.
        bag = torch.repeat_interleave(ptr.diff(), output_size=K * E)
        rows = self._count(K * E) - shift.index_select(0, bag)
        if not self.is_sorted:
            rows = torch.argsort(self.target, stable=True).index_select(0, rows)
        return rows, ptr, rows * K + bag % K

    def _count(self, n: int) -> Tensor:
        return torch.arange(n, device=self.target.device)


class RowSum(OuterSum):
    """The same form, called as ``(g, x)``: Σ_k x_ek g_t(e)k for each row e, (E, C). Reads a table between its rows."""

    result = 2

    def plain(self, *others: Tensor) -> Tensor:
        g, x = others
        rows = gather(g.reshape(-1, g.shape[-1]), self.components.flatten()).unflatten(0, self.components.shape)
        return (rows * x[:, :, None]).sum(1)
