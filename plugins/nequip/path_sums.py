"""Sums over neighbours, path by path, and their derivatives of two orders, computed block by block.

    A_i[m2; m1, c] = Σ_j Y_j[m2] · w_j[c] · x_j[m1, c]

For one path and atom this is a small matrix product over the neighbours. It is a form in (Y, w, x), linear in each, and
so are its derivatives: with the cotangent G of A they all come from Σ G·Y·w·x. :class:`PathSums` and :class:`_Gradient`
hold them, block of atoms by block of atoms, and recompute the products instead of keeping them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from zoo.nn import Scratch, leads_on

from .neighbors import SlotBlock

__all__ = ["PathColumns", "PathSums", "Plan"]


class PathColumns(NamedTuple):
    """One path: index of its source irrep, degree of its harmonic, and its columns in the weights."""

    source: int
    l: int
    columns: slice


@dataclass(frozen=True)
class Plan:
    """Arguments without gradients of the two autograd functions below."""

    paths: tuple[PathColumns, ...]
    blocks: list[SlotBlock]
    source: Tensor
    pair: Tensor


class _Operands:
    """One block's rows of harmonics, weights and features; any of them may be absent (``None``), as zero is."""

    def __init__(
        self, scratch: Scratch, name: str, plan: Plan, block: SlotBlock, harmonics: Any, weights: Any, features: Any
    ) -> None:
        slots = slice(block.start, block.stop)
        pair, source = plan.pair[slots], plan.source[slots]
        self.scratch, self.block, self.slots = scratch, block, block.stop - block.start
        self.harmonics = None if harmonics is None else harmonics[slots].unflatten(0, (-1, block.width))
        self.weights = None if weights is None else scratch.rows(f"{name} w", weights, pair)
        self.features = [
            None if x is None else scratch.rows(f"{name} x{k}", x, source) for k, x in enumerate(features)
        ]

    def y(self, path: PathColumns) -> Tensor:
        """(atoms, width, 2l + 1)."""
        return self.harmonics[:, :, path.l**2 : (path.l + 1) ** 2]

    def w(self, path: PathColumns) -> Tensor:
        """(slots, 1, channels)."""
        return self.weights[:, None, path.columns]

    def x(self, path: PathColumns) -> Tensor:
        """(slots, 2l1 + 1, channels)."""
        return self.features[path.source]

    def product(self, path: PathColumns, *, x: _Operands | None = None, w: _Operands | None = None) -> Tensor:
        """x·w, or with one factor of other operands: (slots, m1, channels)."""
        left = (x or self).x(path)
        return torch.mul(left, (w or self).w(path), out=self.scratch.empty("product", left, *left.shape))

    def add_harmonics(self, path: PathColumns, g: Tensor, product: Tensor) -> None:
        self.y(path).add_(torch.bmm(g, self.by_atom(product).transpose(1, 2)).transpose(1, 2))

    def by_atom(self, product: Tensor) -> Tensor:
        """(slots, m1, channels) → (atoms, width, m1·channels)."""
        return product.view(self.block.hi - self.block.lo, self.block.width, -1)

    def back(self, name: str, path: PathColumns, g: Tensor) -> Tensor:
        """Σ_m2 Y·G: (slots, m1, channels)."""
        shape = (self.block.hi - self.block.lo, self.block.width, g.shape[2])
        out = torch.bmm(self.y(path), g, out=self.scratch.empty(name, g, *shape))
        return out.view(self.slots, -1, path.columns.stop - path.columns.start)


class PathSums(torch.autograd.Function):
    """A[m2; m1, c] = Σ over slots of Y·w·x, one output (N, 2l + 1, m1·channels) per path."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, harmonics: Tensor, weights: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        ctx.plan = plan
        ctx.save_for_backward(harmonics, weights, *features)
        ctx.set_materialize_grads(False)
        harmonics, weights, *features = (x.detach() for x in (harmonics, weights, *features))
        out = _new_sums(plan, features)
        scratch = Scratch()
        for block in plan.blocks:
            part = _Operands(scratch, "", plan, block, harmonics, weights, features)
            for path, total in zip(plan.paths, out):
                product = part.by_atom(part.product(path))
                torch.bmm(part.y(path).transpose(1, 2), product, out=total[block.lo : block.hi])
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        harmonics, weights, *features = ctx.saved_tensors
        if any(g is None for g in grads):
            grads = [zero.zero_() if g is None else g for g, zero in zip(grads, _new_sums(ctx.plan, features))]
        wanted = [needed and leads_on(ctx, k) for k, needed in enumerate(ctx.needs_input_grad[1:])]
        return None, *_Gradient.apply(ctx.plan, wanted, harmonics, weights, *features, *grads)


class _Gradient(torch.autograd.Function):
    """Gradients of Σ G·A in harmonics, weights and features, as far as wanted: (Y, w, x…, G…) → (gY, gw, gx…)."""

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, wanted: list[bool], harmonics: Tensor, weights: Tensor, *rest: Tensor
    ) -> tuple[Tensor | None, ...]:
        ctx.plan = plan
        ctx.save_for_backward(harmonics, weights, *rest)
        ctx.set_materialize_grads(False)
        harmonics, weights, *rest = (x.detach() for x in (harmonics, weights, *rest))
        features, grads = _split(plan, rest)
        total = _Totals(wanted, harmonics, weights, features)
        scratch = Scratch()
        for block in plan.blocks:
            part = _Operands(scratch, "", plan, block, harmonics, weights, features)
            out = total.of(scratch, plan, block)
            for path, grad in zip(plan.paths, grads):
                g = grad[block.lo : block.hi]
                if out.harmonics is not None:
                    out.add_harmonics(path, g, part.product(path))
                if out.weights is not None or out.features[path.source] is not None:
                    _reduce(((part.back("back", path, g), part),), path, out)
            total.add(plan, out)
        return total.harmonics, total.weights, *total.features

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, t_y: Tensor | None, t_w: Tensor | None, *t_x: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Gradients of S(G, tY, w, x) + S(G, Y, tw, x) + S(G, Y, w, tx), S = Σ G·Y·w·x, in Y, w, x and G."""
        plan = ctx.plan
        harmonics, weights, *rest = ctx.saved_tensors
        features, grads = _split(plan, rest)
        wanted = [needed and leads_on(ctx, k) for k, needed in enumerate(ctx.needs_input_grad[2:])]
        total = _Totals(wanted, harmonics, weights, features)
        grad_g = _new_sums(plan, features)
        scratch = Scratch()
        for block in plan.blocks:
            part = _Operands(scratch, "", plan, block, harmonics, weights, features)
            tangent = _Operands(scratch, "t", plan, block, t_y, t_w, t_x)
            out = total.of(scratch, plan, block)
            for path, grad, sums in zip(plan.paths, grads, grad_g):
                g, sums = grad[block.lo : block.hi], sums[block.lo : block.hi]
                back = back_moved = None
                moved = _first_order(part, tangent, path)
                if moved is None:
                    sums.zero_()
                else:
                    torch.bmm(part.y(path).transpose(1, 2), part.by_atom(moved), out=sums)
                    if out.harmonics is not None:
                        out.add_harmonics(path, g, moved)
                    back = part.back("back", path, g)
                if t_y is not None:
                    sums.baddbmm_(tangent.y(path).transpose(1, 2), part.by_atom(part.product(path)))
                    back_moved = tangent.back("back moved", path, g)
                _reduce(((back, tangent), (back_moved, part)), path, out)
            total.add(plan, out)
        return None, None, total.harmonics, total.weights, *total.features, *grad_g


class _Totals:
    """Gradients of harmonics, weights and features under construction; those not wanted are ``None``."""

    def __init__(self, wanted: list[bool], harmonics: Tensor, weights: Tensor, features: Any) -> None:
        self.harmonics = torch.zeros_like(harmonics) if wanted[0] else None
        self.weights = torch.zeros_like(weights) if wanted[1] else None
        self.features = [torch.zeros_like(x) if a else None for a, x in zip(wanted[2:], features)]

    def of(self, scratch: Scratch, plan: Plan, block: SlotBlock) -> _Operands:
        """One block's share: harmonics in place, weights unset, features zero."""
        out = _Operands(scratch, "", plan, block, self.harmonics, None, [None] * len(self.features))
        if self.weights is not None:
            out.weights = scratch.empty("out w", self.weights, out.slots, self.weights.shape[1])
        for k, x in enumerate(self.features):
            if x is not None:
                out.features[k] = scratch.empty(f"out x{k}", x, out.slots, *x.shape[1:]).zero_()
        return out

    def add(self, plan: Plan, out: _Operands) -> None:
        slots = slice(out.block.start, out.block.stop)
        if self.weights is not None:
            self.weights.index_add_(0, plan.pair[slots], out.weights)
        for total, x in zip(self.features, out.features):
            if total is not None:
                total.index_add_(0, plan.source[slots], x)


def _new_sums(plan: Plan, features: Any) -> list[Tensor]:
    """One (N, 2l + 1, m1·channels) per path: zero for atoms without neighbours, which come first, unset for others."""
    sums = []
    for path in plan.paths:
        n, dim, channels = features[path.source].shape
        sums.append(features[0].new_empty(n, 2 * path.l + 1, dim * channels))
        sums[-1][: plan.blocks[0].lo if plan.blocks else n].zero_()
    return sums


def _split(plan: Plan, rest: Any) -> tuple[Any, Any]:
    return rest[: -len(plan.paths)], rest[-len(plan.paths) :]


def _first_order(part: _Operands, tangent: _Operands, path: PathColumns) -> Tensor | None:
    """x·tw + tx·w."""
    moved = None
    if tangent.weights is not None:
        moved = part.product(path, w=tangent)
    if tangent.features[path.source] is not None:
        if moved is None:
            return part.product(path, x=tangent)
        moved.addcmul_(tangent.x(path), part.w(path))
    return moved


def _reduce(terms: tuple[tuple[Tensor | None, _Operands], ...], path: PathColumns, out: _Operands) -> None:
    """Σ back·x over m1 is the gradient of the block's weights, Σ back·w over paths is added to that of its features.

    Each term is a ``back`` (slots, m1, channels) and the operands it is multiplied by.
    """
    product = None
    for back, part in terms:
        if back is None:
            continue
        if out.features[path.source] is not None and part.weights is not None:
            out.features[path.source].addcmul_(back, part.w(path))
        if out.weights is not None and part.features[path.source] is not None:
            # back is not needed after the features' gradient: the product is written into it.
            x = part.x(path)
            product = back.mul_(x) if product is None else product.addcmul_(back, x)
    if product is not None:
        torch.sum(product, 1, keepdim=True, out=out.w(path))
    elif out.weights is not None:
        out.w(path).zero_()
