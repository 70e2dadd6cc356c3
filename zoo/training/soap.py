"""SOAP: Adam in the eigenbasis of the gradient's second moments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Soap"]

_LARGEST = 512
"""A dimension larger than this is not rotated: its basis would cost more than the rest of the step."""


class Soap(torch.optim.Optimizer):
    """Adam run in the slowly changing eigenbasis of Shampoo's preconditioner (Vyas et al., SOAP, ICLR 2025, alg. 3).

    For a weight matrix W with gradient G, L ≈ E[G Gᵀ] and R ≈ E[Gᵀ G] are averaged over steps; their eigenvectors
    rotate G to Q_Lᵀ G Q_R, where Adam's diagonal scaling is close to the full one. Bases are refreshed every ``every``
    steps by one step of orthogonal iteration. Weights of more than two dimensions are stacks of matrices; biases and
    tables of embeddings (``diagonal`` groups), of which a step sees only some rows, are left to Adam.

    Matrices of equal shape are batched. The state depends on the gradients only: ranks with equal gradients stay
    equal, and a resumed run is reproducible.

    Args:
        params: parameters or groups; a group with ``diagonal=True`` is left to Adam.
        lr: learning rate; published runs use about three times that of Adam.
        betas: decay of the mean and of the second moments, the latter also of L and R.
        every: steps between refreshed bases.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        every: int = 10,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0, "diagonal": False,
                                  "every": every})
        for group in self.param_groups:
            group["steps"] = 0

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # closures are not used
        """Update every parameter; a missing gradient counts as zero."""
        for group in self.param_groups:
            group["steps"] += 1
            for alike in _stacks(group):
                gradient = torch.stack([_matrices(p.grad if p.grad is not None else torch.zeros_like(p))
                                        for p in alike])
                # The state of a stack is kept under its first parameter.
                update = self._direction(self.state[alike[0]], gradient, group)
                for p, u in zip(alike, update, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(u.view_as(p), alpha=-group["lr"])

    def _direction(self, state: dict[str, Any], gradient: Tensor, group: dict[str, Any]) -> Tensor:
        """Adam's direction for a stack (…, m, n) of gradients, found in the rotated frame."""
        (beta1, beta2), steps = group["betas"], group["steps"]
        rotates = not group["diagonal"] and min(gradient.shape[-2:]) > 1
        if not state:
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            for side in _SIDES if rotates else ():
                if gradient.shape[side.axis] <= _LARGEST:
                    state[side.moments] = side.outer(gradient)
                    state[side.basis] = torch.linalg.eigh(state[side.moments])[1].flip(-1).contiguous()
        sides = [side for side in _SIDES if side.basis in state]
        mean, square = state["mean"], state["square"]
        mean.lerp_(gradient, 1 - beta1)
        rotated, direction = gradient, mean
        for side in sides:
            rotated, direction = (side.rotate(x, state[side.basis]) for x in (rotated, direction))
        square.mul_(beta2).addcmul_(rotated, rotated, value=1 - beta2)
        scale = (square / (1 - beta2**steps)).sqrt_().add_(group["eps"])
        direction = direction / scale.mul_(1 - beta1**steps)
        for side in sides:
            direction = side.rotate(direction, state[side.basis].mT)
            state[side.moments].lerp_(side.outer(gradient), 1 - beta2)
        if steps % group["every"] == 0:
            for side in sides:
                _refresh(state, side)
        return direction


class _Side:
    """Rows or columns of a matrix: names of its state, and products with its basis."""

    def __init__(self, name: str, axis: int) -> None:
        self.moments, self.basis, self.axis = f"{name}_moments", f"{name}_basis", axis

    def outer(self, g: Tensor) -> Tensor:
        return g @ g.mT if self.axis == -2 else g.mT @ g

    def rotate(self, x: Tensor, basis: Tensor) -> Tensor:
        """Components along the columns of ``basis``."""
        return basis.mT @ x if self.axis == -2 else x @ basis


_SIDES = (_Side("row", -2), _Side("column", -1))


def _refresh(state: dict[str, Any], side: _Side) -> None:
    """One orthogonal iteration, largest eigenvalue first; the second moments are permuted with the axes."""
    moments, basis = state[side.moments], state[side.basis]
    product = moments @ basis
    order = (basis * product).sum(-2).argsort(dim=-1, descending=True, stable=True)
    index = order.unsqueeze(-1 if side.axis == -2 else -2).expand_as(state["square"])
    state["square"] = state["square"].gather(side.axis, index)
    state[side.basis] = torch.linalg.qr(product.gather(-1, order.unsqueeze(-2).expand_as(product)))[0]


def _stacks(group: dict[str, Any]) -> Iterator[list[nn.Parameter]]:
    """The group's parameters, grouped by shape in the order of first appearance."""
    stacks: dict[torch.Size, list[nn.Parameter]] = {}
    for p in group["params"]:
        stacks.setdefault(p.shape, []).append(p)
    yield from stacks.values()


def _matrices(x: Tensor) -> Tensor:
    """(m, n) or (…, m, n) as it is, a vector as one row."""
    return x if x.ndim > 1 else x.reshape(1, -1)
