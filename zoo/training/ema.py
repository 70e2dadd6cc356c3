"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """Averaged copies of a model's trained parameters, kept apart from the raw ones.

    The decay warms up as min(decay, (1 + n) / (10 + n)) over updates n, so that the random start is forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._raw = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.averaged = {name: p.detach().clone() for name, p in self._raw.items()}

    @torch.no_grad()
    def update(self) -> None:
        """avg ← avg + (1 − decay)(raw − avg), after an optimiser step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        torch._foreach_lerp_(list(self.averaged.values()), [p.detach() for p in self._raw.values()], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model computes with averaged weights inside this block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self._raw.items():
            parameter.data, self.averaged[name] = self.averaged[name], parameter.data

    def state(self) -> dict[str, Tensor]:
        return dict(self.averaged)

    @torch.no_grad()
    def load(self, state: dict[str, Tensor], updates: int) -> None:
        for name, tensor in self.averaged.items():
            tensor.copy_(state[name])
        self.updates = updates
