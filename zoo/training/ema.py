"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """Averaged copies of a model's trained parameters.

    The decay warms up as min(decay, (1 + n) / (10 + n)) over updates n, so that the random start is forgotten. Copies
    are float64: in float32 a step of (1 − decay) times a small difference is rounded away, and the average stays where
    it is, off by up to 2⁻²⁴ / (1 − decay) of a weight.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._raw = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.averaged = {name: p.detach().to(torch.float64, copy=True) for name, p in self._raw.items()}
        self._exact = [torch.empty_like(average) for average in self.averaged.values()]

    @torch.no_grad()
    def update(self) -> None:
        """avg ← avg + (1 − decay)(raw − avg), after an optimiser step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_copy_(self._exact, [p.detach() for p in self._raw.values()])
        torch._foreach_lerp_(list(self.averaged.values()), self._exact, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model computes with averaged weights inside this block."""
        kept = {name: parameter.data for name, parameter in self._raw.items()}
        for name, parameter in self._raw.items():
            parameter.data = self.averaged[name].to(parameter.dtype)
        try:
            yield
        finally:
            for name, parameter in self._raw.items():
                parameter.data = kept[name]

    def state(self) -> dict[str, Tensor]:
        return dict(self.averaged)

    @torch.no_grad()
    def load(self, state: dict[str, Tensor], updates: int) -> None:
        for name, tensor in self.averaged.items():
            tensor.copy_(state[name])
        self.updates = updates
