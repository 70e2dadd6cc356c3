"""The features of a forward pass, kept for error estimates that need them after it."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from zoo.model.model import Model

__all__ = ["FeatureHook"]

_OPEN: ContextVar[FeatureHook | None] = ContextVar("open feature hook", default=None)


class FeatureHook:
    """Keeps the features of the model's last forward pass inside ``with FeatureHook(model) as hook``.

    It sees the passes of its own thread only.
    """

    features: Tensor
    """(N, dim(irreps_out)); set by the first forward pass."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._token: Token[FeatureHook | None] | None = None

    def __enter__(self) -> FeatureHook:
        self._token = _OPEN.set(self)
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._token is not None
        _OPEN.reset(self._token)

    @staticmethod
    def note(model: Model, features: Tensor) -> None:
        """Called by a model with the features of each forward pass."""
        hook = _OPEN.get()
        if hook is not None and hook._model is model:
            hook.features = features.detach()
