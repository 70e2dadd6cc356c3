"""The tensor-product convolution, fused over neighbours so that no (E, large) tensor is kept or even made.

    mid_i = Σ_j Σ_paths w(d_ij) · C (x_j ⊗ Y(x_ij))          (Batzner et al. 2022, eq. 4; "uvu" couplings)

The Clebsch-Gordan tensor C does not depend on the edge, so it acts after the sum, on atoms instead of edges:

    A_i[m2; m1, path, c] = Σ_j Y_j[m2] · w_j[path, c] · x_j[m1, c],     mid_i[m3] = Σ_{m1 m2} C[m3, m2, m1] A_i[m2; m1]

For one atom the first is a small matrix product over its neighbours. It is a form in (Y, w, x), linear in each, and so
are its derivatives: with the cotangent G of A they all come from Σ G·Y·w·x. :class:`_Sum` and :class:`_Gradient` hold
them, block of atoms by block of atoms, and recompute the products instead of keeping them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoo.nn import gather, sum_by

from .coupling import ExactConstants, coupling_matrix
from .irreps import Irrep, Multiplicities, paths

__all__ = ["Block", "Convolution", "Features", "Neighbours", "arrange"]

Features = dict[Irrep, Tensor]

_BLOCK_FLOATS = {"cpu": 1 << 17}
_BLOCK_FLOATS_ELSEWHERE = 1 << 26
"""Size of the largest product of a block; on a CPU such that it stays in the cache until it is summed."""


class Block(NamedTuple):
    """Atoms ``lo:hi``, each with ``width`` neighbour slots, at slots ``start:stop`` = (hi − lo)·width."""

    lo: int
    hi: int
    start: int
    stop: int
    width: int


@dataclass
class Neighbours:
    """What the layers read of the S edges, or of the S padded neighbour slots made of them.

    Attributes:
        source, target: (S,) atoms j and i.
        pair: (S,) row of ``radial``, shared by the two directions of a pair.
        radial: (P, num_bessel) enveloped Bessel basis.
        harmonics: (S, (lmax + 1)²); zero in an empty slot.
        blocks: how atoms own slots; ``None`` for plain edges.
    """

    source: Tensor
    target: Tensor
    pair: Tensor
    radial: Tensor
    harmonics: Tensor
    blocks: list[Block] | None


def arrange(degree: Tensor, first_edge: Tensor, floats_per_slot: int) -> tuple[Tensor, Tensor, Tensor, list[Block]]:
    """Order atoms by their number of neighbours and give every block of them slots of equal width.

    Args:
        degree, first_edge: (N,) number of incoming edges of each atom, and the first of them.
        floats_per_slot: of the largest product, see :attr:`Convolution.floats_per_slot`.

    Returns:
        order (N,): the atoms by degree; atom (S,): place in this order that owns each slot; edge (S,): the edge in
        each slot, E where it is empty; the blocks.
    """
    limit = max(1, _BLOCK_FLOATS.get(degree.device.type, _BLOCK_FLOATS_ELSEWHERE) // floats_per_slot)
    degree, order = torch.sort(degree)
    sizes = degree.tolist()
    blocks, lo, start = [], sum(d == 0 for d in sizes), 0
    while lo < len(sizes):
        hi = min(len(sizes), lo + max(1, limit // sizes[lo]))
        while hi > lo + 1 and (hi - lo) * sizes[hi - 1] > limit:
            hi = max(lo + 1, lo + limit // sizes[hi - 1])
        slots = sizes[hi - 1]
        blocks.append(Block(lo, hi, start, start + (hi - lo) * slots, slots))
        lo, start = hi, blocks[-1].stop
    slots = torch.zeros_like(degree)
    for block in blocks:
        slots[block.lo : block.hi] = block.width
    atom = torch.repeat_interleave(slots, output_size=start)
    first_slot = slots.cumsum(0) - slots
    place = torch.arange(start, device=degree.device) - first_slot.index_select(0, atom)
    edge = first_edge.index_select(0, order).index_select(0, atom) + place
    num_edges = int(degree.sum())
    return order, atom, torch.where(place < degree.index_select(0, atom), edge, num_edges), blocks


class _Group(NamedTuple):
    """Paths of one source irrep with one harmonic: their columns in the weights, and the shape of their products."""

    source: int
    l: int
    columns: slice
    count: int


@dataclass(frozen=True)
class _Plan:
    """Everything but tensors with gradients that the two functions below need."""

    groups: tuple[_Group, ...]
    blocks: list[Block]
    source: Tensor
    pair: Tensor


class _Operands:
    """One block's rows of harmonics, weights and features; any of them may be absent (``None``), as zero is."""

    def __init__(self, plan: _Plan, block: Block, harmonics: Any, weights: Any, features: Any) -> None:
        slots = slice(block.start, block.stop)
        pair, source = plan.pair[slots], plan.source[slots]
        self.block = block
        self.harmonics = None if harmonics is None else harmonics[slots].unflatten(0, (-1, block.width))
        self.weights = None if weights is None else weights.index_select(0, pair)
        self.features = [None if x is None else x.index_select(0, source) for x in features]

    def y(self, group: _Group) -> Tensor:
        """(atoms, width, 2l + 1)."""
        return self.harmonics[:, :, group.l**2 : (group.l + 1) ** 2]

    def w(self, group: _Group) -> Tensor:
        """(slots, 1, paths, channels)."""
        return self.weights[:, group.columns].unflatten(1, (1, group.count, -1))

    def x(self, group: _Group) -> Tensor:
        """(slots, 2l1 + 1, 1, channels)."""
        return self.features[group.source].unsqueeze(2)

    def by_path(self, back: Tensor, group: _Group) -> Tensor:
        """(atoms, width, m1·paths·channels) → (slots, m1, paths, channels)."""
        channels = self.features[group.source].shape[2]
        return back.view(self.features[group.source].shape[0], -1, group.count, channels)

    def by_atom(self, product: Tensor) -> Tensor:
        """(slots, m1, paths, channels) → (atoms, width, m1·paths·channels)."""
        return product.view(self.block.hi - self.block.lo, self.block.width, -1)


class _Sum(torch.autograd.Function):
    """A[m2; m1, path, c] = Σ over slots of Y·w·x, one output (N, 2l + 1, m1·paths·channels) per group."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, harmonics: Tensor, weights: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        ctx.plan = plan
        ctx.save_for_backward(harmonics, weights, *features)
        ctx.set_materialize_grads(False)
        out = [_new_sum(group, features) for group in plan.groups]
        for block in plan.blocks:
            part = _Operands(plan, block, harmonics, weights, features)
            for group, total in zip(plan.groups, out):
                product = part.by_atom(part.x(group) * part.w(group))
                torch.bmm(part.y(group).transpose(1, 2), product, out=total[block.lo : block.hi])
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        harmonics, weights, *features = ctx.saved_tensors
        grads = [_new_sum(group, features) if g is None else g for group, g in zip(ctx.plan.groups, grads)]
        with_harmonics = ctx.needs_input_grad[1]
        return None, *_Gradient.apply(ctx.plan, with_harmonics, harmonics, weights, *features, *grads)


class _Gradient(torch.autograd.Function):
    """Gradients of Σ G·A in harmonics, weights and features: (Y, w, x…, G…) → (gY, gw, gx…)."""

    @staticmethod
    def forward(
        ctx: Any, plan: _Plan, with_harmonics: bool, harmonics: Tensor, weights: Tensor, *rest: Tensor
    ) -> tuple[Tensor | None, ...]:
        ctx.plan = plan
        ctx.save_for_backward(harmonics, weights, *rest)
        ctx.set_materialize_grads(False)
        features, grads = _split(plan, rest)
        grad_y = torch.zeros_like(harmonics) if with_harmonics else None
        grad_w, grad_x = torch.zeros_like(weights), [torch.zeros_like(x) for x in features]
        for block in plan.blocks:
            part = _Operands(plan, block, harmonics, weights, features)
            out = _Operands(plan, block, grad_y, None, [None] * len(features))
            out.weights, out.features = torch.empty_like(part.weights), [torch.zeros_like(x) for x in part.features]
            for group, grad in zip(plan.groups, grads):
                g = grad[block.lo : block.hi]
                if with_harmonics:
                    product = part.by_atom(part.x(group) * part.w(group))
                    out.y(group).add_(torch.bmm(product, g.transpose(1, 2)))
                back = part.by_path(torch.bmm(part.y(group), g), group)
                _reduce(((back, part),), group, out)
            _scatter(plan, out, grad_w, grad_x)
        return grad_y, grad_w, *grad_x

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, t_y: Tensor | None, t_w: Tensor | None, *t_x: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Gradients of S(G, tY, w, x) + S(G, Y, tw, x) + S(G, Y, w, tx), S = Σ G·Y·w·x, in Y, w, x and G."""
        plan = ctx.plan
        harmonics, weights, *rest = ctx.saved_tensors
        features, grads = _split(plan, rest)
        grad_y = torch.zeros_like(harmonics) if ctx.needs_input_grad[2] else None
        grad_w, grad_x = torch.zeros_like(weights), [torch.zeros_like(x) for x in features]
        grad_g = [_new_sum(group, features) for group in plan.groups]
        for block in plan.blocks:
            part = _Operands(plan, block, harmonics, weights, features)
            tangent = _Operands(plan, block, t_y, t_w, t_x)
            out = _Operands(plan, block, grad_y, None, [None] * len(features))
            out.weights, out.features = torch.empty_like(part.weights), [torch.zeros_like(x) for x in part.features]
            for group, grad, total in zip(plan.groups, grads, grad_g):
                g, total = grad[block.lo : block.hi], total[block.lo : block.hi]
                moved = _first_order(part, tangent, group)
                back = back_moved = None
                if moved is not None:
                    moved = part.by_atom(moved)
                    torch.bmm(part.y(group).transpose(1, 2), moved, out=total)
                    if grad_y is not None:
                        out.y(group).add_(torch.bmm(moved, g.transpose(1, 2)))
                    back = part.by_path(torch.bmm(part.y(group), g), group)
                if t_y is not None:
                    total.baddbmm_(tangent.y(group).transpose(1, 2), part.by_atom(part.x(group) * part.w(group)))
                    back_moved = part.by_path(torch.bmm(tangent.y(group), g), group)
                _reduce(((back, tangent), (back_moved, part)), group, out)
            _scatter(plan, out, grad_w, grad_x)
        return None, None, grad_y, grad_w, *grad_x, *grad_g


def _new_sum(group: _Group, features: Any) -> Tensor:
    x = features[group.source]
    return x.new_zeros(x.shape[0], 2 * group.l + 1, x.shape[1] * group.count * x.shape[2])


def _split(plan: _Plan, rest: Any) -> tuple[Any, Any]:
    return rest[: -len(plan.groups)], rest[-len(plan.groups) :]


def _first_order(part: _Operands, tangent: _Operands, group: _Group) -> Tensor | None:
    """x·tw + tx·w."""
    moved = None
    if tangent.weights is not None:
        moved = part.x(group) * tangent.w(group)
    if tangent.features[group.source] is not None:
        x, w = tangent.x(group), part.w(group)
        moved = x * w if moved is None else moved.addcmul_(x, w)
    return moved


def _reduce(terms: tuple[tuple[Tensor | None, _Operands], ...], group: _Group, out: _Operands) -> None:
    """Σ back·x over m1 is the gradient of the block's weights, Σ back·w over paths is added to that of its features.

    Each term is a ``back`` (slots, m1, paths, channels) and the operands it meets.
    """
    product = None
    for back, part in terms:
        if back is None:
            continue
        if part.features[group.source] is not None:
            x = part.x(group)
            product = back * x if product is None else product.addcmul_(back, x)
        if part.weights is not None:
            for k in range(group.count):
                out.features[group.source].addcmul_(back[:, :, k], part.w(group)[:, :, k])
    if product is None:
        out.w(group).zero_()
    else:
        torch.sum(product, 1, keepdim=True, out=out.w(group))


def _scatter(plan: _Plan, out: _Operands, grad_w: Tensor, grad_x: list[Tensor]) -> None:
    slots = slice(out.block.start, out.block.stop)
    grad_w.index_add_(0, plan.pair[slots], out.weights)
    for total, x in zip(grad_x, out.features):
        total.index_add_(0, plan.source[slots], x)


class Convolution(ExactConstants):
    """Σ over neighbours of weights × (features ⊗ harmonics), channel by channel: features → mid features.

    The mid features of an irrep are those of its paths, one after the other along the channels; ``num_weights`` is
    the number of radial weights an edge needs, path after path, and ``floats_per_slot`` the most numbers that an
    edge has in a product at a time.
    """

    def __init__(self, irreps_in: Multiplicities, irreps_out: Multiplicities, lmax: int) -> None:
        self.paths = paths(irreps_in, irreps_out, lmax)
        couplings = {}
        for path in self.paths:
            l1, l3 = path.source.l, path.target.l
            matrix = coupling_matrix(l1, [(path.l, l3)], lmax)[path.l**2 : (path.l + 1) ** 2]
            couplings[f"c{l1}{path.l}{l3}"] = matrix.permute(1, 0, 2).flatten(1)
        super().__init__(**couplings)
        self.irreps_mid: Multiplicities = dict.fromkeys(irreps_out, 0)
        groups, column = [], 0
        for (source, l), own in groupby(self.paths, lambda path: (path.source, path.l)):
            count = len(list(own))
            width = count * irreps_in[source]
            groups.append(_Group(list(irreps_in).index(source), l, slice(column, column + width), count))
            column += width
        for path in self.paths:
            self.irreps_mid[path.target] += irreps_in[path.source]
        self.groups = tuple(groups)
        self.num_weights = column
        sources = list(irreps_in)
        self.floats_per_slot = max((g.columns.stop - g.columns.start) * sources[g.source].dim for g in groups)

    def forward(self, features: Features, weights: Tensor, neighbours: Neighbours) -> Features:
        """Features (N, 2l + 1, C) per irrep and ``weights`` (P, num_weights) → mid features (N, 2l + 1, C')."""
        if neighbours.blocks is None:
            return self._plain(features, weights, neighbours)
        plan = _Plan(self.groups, neighbours.blocks, neighbours.source, neighbours.pair)
        sums = _Sum.apply(plan, neighbours.harmonics, weights, *features.values())
        return self._couple(sums, list(features))

    def _couple(self, sums: tuple[Tensor, ...], sources: list[Irrep]) -> Features:
        parts: dict[Irrep, list[Tensor]] = {irrep: [] for irrep in self.irreps_mid}
        remaining = iter(self.paths)
        for group, total in zip(self.groups, sums):
            dim = (2 * group.l + 1) * sources[group.source].dim
            total = total.view(total.shape[0], dim, group.count, -1)
            for k in range(group.count):
                path = next(remaining)
                matrix = self._buffers[f"c{path.source.l}{path.l}{path.target.l}"]
                parts[path.target].append(torch.matmul(matrix, total[:, :, k]))
        return {irrep: torch.cat(part, 2) for irrep, part in parts.items()}

    def _plain(self, features: Features, weights: Tensor, edges: Neighbours) -> Features:
        """The same edge by edge, in plain operations: what graph compilers take and the fused form is tested on."""
        weights = gather(weights, edges.pair)
        parts: dict[Irrep, list[Tensor]] = {irrep: [] for irrep in self.irreps_mid}
        column = 0
        for path in self.paths:
            x = gather(features[path.source], edges.source)
            num_nodes, channels = features[path.source].shape[0], x.shape[2]
            y = edges.harmonics[:, path.l**2 : (path.l + 1) ** 2]
            matrix = self._buffers[f"c{path.source.l}{path.l}{path.target.l}"].unflatten(1, (y.shape[1], -1))
            message = torch.einsum("oab,ea,ebc->eoc", matrix, y, x) * weights[:, None, column : column + channels]
            column += channels
            parts[path.target].append(sum_by(message, edges.target, num_nodes))
        return {irrep: torch.cat(part, 2) for irrep, part in parts.items()}
