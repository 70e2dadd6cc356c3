"""The optimiser: which parameters are trained, and with which learning rate and weight decay."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from zoo.errors import TrainingError
from zoo.training import parts
from zoo.training.recipe import Recipe
from zoo.training.soap import Soap

__all__ = ["make_optimizer"]


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser for the trained parameters; weight decay applies to matrices only, not to biases.

    Embedding tables are a separate group, for optimisers that treat other matrices as linear maps.

    Parameters that match ``recipe.freeze`` stop requiring gradients.

    Raises:
        TrainingError: everything is frozen, a pattern fits no parameter, or a plugin's optimiser is none.
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
        raise TrainingError(f"nothing is left to train: freeze={list(recipe.freeze)} covers every parameter. Fix: "
                            "freeze fewer, such as 'backbone.*'")
    settings = [{"params": p, "lr": lr, "weight_decay": decay, "diagonal": table}
                for (lr, decay, table), p in groups.items()]
    if recipe.optimizer == "soap":
        return Soap(settings, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)
    if recipe.optimizer != "adamw":
        own = parts.make("optimizer", recipe.optimizer, recipe.optimizer_options)(settings, lr=recipe.lr)
        if not isinstance(own, torch.optim.Optimizer):
            raise TrainingError(f"optimizer '{recipe.optimizer}' gives {type(own).__name__}, which is no "
                                "torch.optim.Optimizer. Fix: return one.")
        return own
    fused = next(iter(named.values())).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(settings, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=fused)


def _matching(pattern: str, names: Mapping[str, Any], key: str) -> Sequence[str]:
    found = fnmatch.filter(names, pattern)
    if not found:
        some = ", ".join(list(names)[:6])
        raise TrainingError(f"recipe.{key}: no parameter is called {pattern!r}. Fix: use names such as {some}, …")
    return found
