"""A model takes no more memory and no more layers than its weights can fill, whatever its card says.

The hash of a card's weights says nothing about the card: both are its author's. But a model cannot have more parameters
than the file has numbers, so that a card that asks for more is refused while the model is built, before the memory is
taken.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration
from torch.overrides import TorchFunctionMode

from zoo.errors import WeightsError

__all__ = ["limited_to"]

# Constants need memory too, and an older format may hold fewer numbers than the model of today.
_RATIO = 4
_ALWAYS = 1 << 22
_MODULES = 2_000
# Initial values are often made in several calls, and some of their numbers are thrown away.
_CALLS, _MADE = 8, 4


_REGISTRATIONS = (registration.register_module_parameter_registration_hook,
                  registration.register_module_buffer_registration_hook,
                  registration.register_module_module_registration_hook)


@contextmanager
def limited_to(header: Mapping[str, Mapping[str, Any]], what: str) -> Iterator[None]:
    """While a model is built in this thread: refuse what exceeds the tensors of a safetensors header several times.

    Args:
        header: of the weights file, as :func:`zoo.cards.weights.read_header` gives it.
        what: the card, for the error.

    Raises:
        WeightsError: within the block.
    """
    numbers = sum(math.prod(entry["shape"]) for entry in header.values())
    limit = _Limit(what, numbers=max(_ALWAYS, _RATIO * numbers), tensors=_RATIO * len(header) + _MODULES)
    thread = threading.get_ident()

    def count(module: nn.Module, name: str, value: Any) -> None:
        if threading.get_ident() == thread:
            limit.count(value)

    hooks = [register(count) for register in _REGISTRATIONS]
    try:
        with _Allocations(limit):
            yield
    finally:
        for hook in hooks:
            hook.remove()


class _Limit:
    def __init__(self, what: str, *, numbers: int, tensors: int) -> None:
        self.what, self.numbers, self.tensors = what, numbers, tensors
        self.registered = self.parts = self.calls = self.made = 0

    def count(self, value: Any) -> None:
        """A parameter, buffer or layer becomes part of the model."""
        self.parts += 1
        self.registered += value.numel() if isinstance(value, Tensor) else 0
        if self.parts > self.tensors or self.registered > self.numbers:
            self.refuse()

    def count_call(self, result: Any, *, new: bool) -> None:
        """A call of torch has returned; ``new`` if it made numbers from nothing."""
        self.calls += 1
        self.made += result.numel() if new and isinstance(result, Tensor) else 0
        if self.calls > _CALLS * self.tensors or self.made > _MADE * self.numbers:
            self.refuse()

    def refuse(self) -> None:
        raise WeightsError(f"{self.what}: its config describes a far larger model than its weights fill. "
                           "Fix: use the config that the weights were trained with.")


class _Allocations(TorchFunctionMode):
    """Sees every call of torch before it runs: one whose result would be too large is refused."""

    def __init__(self, limit: _Limit) -> None:
        super().__init__()
        self.limit = limit

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not kwargs and len(args) == 1 and isinstance(args[0], Tensor):
            return func(*args)  # a property, a transposition …: no larger than its only input
        kwargs = kwargs or {}
        # Most calls are small beyond doubt: a result has at most the product of all sizes and of its inputs' numbers.
        if not _product((args, kwargs)) <= self.limit.numbers and _numbers(func, args, kwargs) > self.limit.numbers:
            self.limit.refuse()
        result = func(*args, **kwargs)
        self.limit.count_call(result, new=not any(isinstance(argument, Tensor) for argument in args))
        return result


def _product(value: Any) -> float:
    if isinstance(value, Tensor):
        return max(1, value.numel())
    if isinstance(value, (int, float)):
        return abs(float(value)) + 1 if abs(value) > 1 else 1
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return 1
    product = 1.0
    for inner in value:
        product *= _product(inner)
    return product


def _numbers(func: Any, args: Any, kwargs: Any) -> int:
    """How many numbers the result has, found from shapes alone."""
    keywords = kwargs if _tensors((args, kwargs)) else {**kwargs, "device": "meta"}
    try:
        made = func(*_on_meta(args), **_on_meta(keywords))
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return 0  # no shape without numbers; or it is wrong, which the call itself says
    return sum(tensor.numel() for tensor in _tensors(made))


def _on_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    if isinstance(value, dict):
        return {key: _on_meta(inner) for key, inner in value.items()}
    return type(value)(map(_on_meta, value)) if type(value) in (tuple, list) else value


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return [tensor for inner in inside for tensor in _tensors(inner)]
