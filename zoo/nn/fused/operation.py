"""The interface of hand-fused operations: a plain and a fused form of one signature, and a rule for choosing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from zoo.graph.tracing import is_traced

__all__ = ["FusedOperation", "Use", "force"]

Form = Literal["plain", "fused"]
_FORCED: ContextVar[Mapping[type, Form]] = ContextVar("forced", default=MappingProxyType({}))


@dataclass(frozen=True)
class Use:
    """Where the fused form of an operation runs; elsewhere, and in recorded or compiled graphs, the plain one does.

    Attributes:
        above: numbers (elements) in the largest product of the plain form; for fewer, the plain form is quicker.
        cpu_only: the fused form is for CPUs.
        constant_weights: the fused form gives no gradients of weights, so none may need one.
        inference_only: the fused form gains nothing where autograd keeps intermediate results.
    """

    above: int = 0
    cpu_only: bool = False
    constant_weights: bool = False
    inference_only: bool = False


class FusedOperation(ABC):
    """An operation with two forms. Calling it runs one of them, chosen by :attr:`use`; the results agree to rounding.

    Both forms can be differentiated twice.
    """

    use: ClassVar[Use]

    @abstractmethod
    def plain(self, *x: Any) -> Any:
        """The operation in plain torch operations."""

    @abstractmethod
    def fused(self, *x: Any) -> Any:
        """The same, written by hand."""

    @abstractmethod
    def numbers(self, *x: Any) -> int:
        """How many numbers the largest product of the plain form holds."""

    def weights(self) -> tuple[Tensor, ...]:
        """Tensors that the operation was made with and that may need gradients."""
        return ()

    def __call__(self, *x: Any) -> Any:
        return self.fused(*x) if self.uses_fused(*x) else self.plain(*x)

    def uses_fused(self, *x: Any) -> bool:
        """Whether these arguments take the fused form."""
        use, form = self.use, _FORCED.get().get(type(self))
        # While a graph is recorded, sizes are symbols, which may not be compared with a threshold.
        if is_traced() or form == "plain" or (form is None and self.numbers(*x) <= use.above):
            return False
        if use.inference_only and torch.is_grad_enabled():
            return False
        if not (use.cpu_only or use.constant_weights):
            return True
        weights = self.weights()
        tensors = [t for t in (*weights, *x) if isinstance(t, Tensor)]
        if use.cpu_only and any(t.device.type != "cpu" for t in tensors):
            return False
        constant = not any(w.requires_grad for w in weights) and len({t.dtype for t in tensors}) == 1
        return constant or not use.constant_weights


@contextmanager
def force(form: Form, *operations: type[FusedOperation]) -> Iterator[None]:
    """One form of some operations whatever the size of their arguments, in this block: for tests and measurements."""
    token = _FORCED.set({**_FORCED.get(), **dict.fromkeys(operations, form)})
    try:
        yield
    finally:
        _FORCED.reset(token)
