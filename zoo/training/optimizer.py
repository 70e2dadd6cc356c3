"""Which parameters are trained, how fast, and by what rule."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import TrainingError
from zoo.training.recipe import Recipe
from zoo.training.soap import Soap

__all__ = ["ScheduleFree", "ScheduleFreeAverage", "make_optimizer"]


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the parameters that are trained; matrices decay, biases and other vectors do not.

    Tables of embeddings are kept apart, for optimisers that treat other matrices as linear maps.

    Parameters that match ``recipe.freeze`` stop requiring gradients.

    Raises:
        TrainingError: everything is frozen, or a pattern fits no parameter.
    """
    named = dict(model.named_parameters())
    for pattern in recipe.freeze:
        for name in _matching(pattern, named, "freeze"):
            named[name].requires_grad_(False)
    factors = dict.fromkeys(named, 1.0)
    for pattern, factor in recipe.lr_scale.items():
        factors |= dict.fromkeys(_matching(pattern, named, "lr_scale"), factor)
    tables = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        if parameter.requires_grad:
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((recipe.lr * factors[name], decay, parameter in tables), []).append(parameter)
    if not groups:
        raise TrainingError(f"nothing is left to train: freeze={list(recipe.freeze)} covers every parameter")
    settings = [{"params": p, "lr": lr, "weight_decay": decay, "diagonal": table}
                for (lr, decay, table), p in groups.items()]
    if recipe.optimizer == "soap":
        return Soap(settings, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)
    if recipe.optimizer == "schedulefree":
        return ScheduleFree(settings, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)
    fused = next(iter(named.values())).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(settings, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=fused)


def _matching(pattern: str, names: Mapping[str, Any], key: str) -> Sequence[str]:
    found = fnmatch.filter(names, pattern)
    if not found:
        some = ", ".join(list(names)[:6])
        raise TrainingError(f"recipe.{key}: no parameter is called {pattern!r}; names are like {some}, …")
    return found


class ScheduleFree(torch.optim.Optimizer):
    """AdamW without a schedule (Defazio et al., The road less scheduled, NeurIPS 2024, algorithm 1).

    The parameters of the model are y = (1 − β₁) z + β₁ x, where gradients are taken; z moves, and x, the average of
    z weighted by the squared rate, is what is evaluated: see :class:`ScheduleFreeAverage`.
    """

    def __init__(self, params: Any, *, lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})
        for group in self.param_groups:
            group["steps"], group["weight_sum"] = 0, 0.0

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no closures: gradients are there
        """z ← z − γu and x ← (1 − c) x + c z, written in terms of y; u is Adam's direction at y."""
        for group in self.param_groups:
            group["steps"] += 1
            gamma, (beta1, beta2) = group["lr"], group["betas"]
            group["weight_sum"] += gamma**2
            c = gamma**2 / group["weight_sum"] if group["weight_sum"] > 0 else 1.0
            correction = 1 - beta2 ** group["steps"]
            for y in group["params"]:
                if y.grad is None:
                    continue
                state = self.state[y]
                if not state:
                    state["z"], state["square"] = y.clone(), torch.zeros_like(y)
                z, square = state["z"], state["square"]
                square.mul_(beta2).addcmul_(y.grad, y.grad, value=1 - beta2)
                update = y.grad / (square / correction).sqrt_().add_(group["eps"])
                update.add_(y, alpha=group["weight_decay"])
                y.lerp_(z, c).add_(update, alpha=-gamma * (1 - beta1 + beta1 * c))
                z.sub_(update, alpha=gamma)


class ScheduleFreeAverage:
    """The averaged weights x of :class:`ScheduleFree`, with the interface of :class:`zoo.training.ema.Average`."""

    def __init__(self, model: nn.Module, optimizer: ScheduleFree) -> None:
        self.optimizer = optimizer
        self.updates = 0
        self._names = {parameter: name for name, parameter in model.named_parameters()}

    def update(self) -> None:
        """Nothing to do: the optimiser averages."""
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model computes with x inside this block."""
        kept = {y: y.data for y in self._averaged()}
        for y, x in self._averaged().items():
            y.data = x
        try:
            yield
        finally:
            for y, data in kept.items():
                y.data = data

    def state(self) -> dict[str, Tensor]:
        return {self._names[y]: x for y, x in self._averaged().items()}

    def load(self, state: dict[str, Tensor], updates: int) -> None:
        """The state of the optimiser holds everything."""
        self.updates = updates

    def _averaged(self) -> dict[nn.Parameter, Tensor]:
        averaged = {}
        for group in self.optimizer.param_groups:
            beta = group["betas"][0]
            for y in group["params"]:
                if "z" in self.optimizer.state[y]:
                    averaged[y] = (y.data - (1 - beta) * self.optimizer.state[y]["z"]) / beta
        return averaged
