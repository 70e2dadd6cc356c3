"""Values of a card's ``config`` compared with the annotations of the constructor that they are for."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from zoo.errors import ZooError, shortened

__all__ = ["check_config"]

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "nothing"}


def check_config(name: str, config: Mapping[str, Any], constructor: Callable[..., Any], radii: Iterable[str],
                 place: Callable[[str], str]) -> None:
    """Refuse values of another kind than annotated, numbers that are not finite, and radii that are not positive.

    Annotations that are neither plain types, unions of them nor literals are not looked at.

    Args:
        name: of the architecture.
        radii: keywords that are lengths.
        place: says where a key of ``config`` stands.

    Raises:
        ZooError: says what was found and what is expected.
    """
    hints = _hints(constructor)
    for key, value in config.items():
        if not _is_finite(value):
            raise ZooError(f"{place(key)}: {value} is not finite. Fix: give a finite number.")
        kinds = _kinds(hints.get(key))
        if kinds and not any(_fits(value, kind) for kind in kinds):
            expected = " or ".join(_WORDS.get(kind) or repr(kind) for kind in kinds)
            raise ZooError(f"{place(key)}: '{name}' expects {expected}, found {shortened(value)}. Fix: correct it.")
        if key in radii and _fits(value, float) and value <= 0:
            raise ZooError(f"{place(key)}: a radius of {value} Å. Fix: give a positive number.")


def _hints(constructor: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(constructor.__init__ if inspect.isclass(constructor) else constructor)
    except Exception:  # a name that exists for type checkers only, or anything else in a stranger's module
        return {}


def _kinds(hint: Any) -> list[Any]:
    """The types and literal values that an annotation allows; empty if it is of another form."""
    if isinstance(hint, type) and hint in _WORDS:
        return [hint]
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        parts = [_kinds(part) for part in get_args(hint)]
        return [kind for part in parts for kind in part] if all(parts) else []
    return []


def _fits(value: Any, kind: Any) -> bool:
    if kind is float or kind is int:
        return isinstance(value, Real if kind is float else Integral) and not isinstance(value, bool)
    return isinstance(value, kind) if kind in _WORDS else value == kind


def _is_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
