"""Values of a card's ``config`` against the constructor of the architecture: its annotations, defaults and cut-offs.

Any plugin's keywords are checked, without a line of its own: a value of another type than the annotation (or than the
default, where there is none), a number that is not finite, a radius that is not positive, a negative count. A plugin
that takes less says so in the annotation, ``channels: pydantic.PositiveInt``.
"""

from __future__ import annotations

import inspect
import json
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from zoo.errors import ZooError, shortened

__all__ = ["check_config"]

_WORDS = {"int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
          "bool_type": "true or false", "string_type": "text", "list_type": "a list", "tuple_type": "a list",
          "is_sequence_of": "a list", "dict_type": "a mapping"}


def check_config(name: str, config: Mapping[str, Any], cls: type, radii: Iterable[str],
                 place: Callable[[str], str]) -> None:
    """Refuse values that the constructor of ``cls`` does not take, or would make other numbers of.

    Args:
        name: of the architecture.
        radii: keywords that are radii in Å.
        place: gives the place of a key for errors.

    Raises:
        ZooError: names the key, what was found and what is expected.
    """
    parameters = inspect.signature(cls).parameters
    hints = _hints(cls)
    for key, value in config.items():
        parameter = parameters.get(key)
        default = inspect.Parameter.empty if parameter is None else parameter.default
        wrong = _of_another_type(value, hints.get(key, inspect.Parameter.empty), default)
        if not _finite(value):
            wrong = f"{shortened(value)} is not finite"
        elif wrong is not None:
            wrong = f"'{name}' expects {wrong}"
        elif key in radii and _is_number(value) and value <= 0:
            wrong = f"a radius of {value} Å; '{name}' expects a number above 0"
        elif _is_count(default) and _is_number(value) and value < 0:
            wrong = f"'{name}' expects a whole number from 0, found {shortened(value)}"
        if wrong is not None:
            known = default is not inspect.Parameter.empty and default is not None
            hint = f", such as the default, {shortened(default)}" if known else ""
            raise ZooError(f"{place(key)}: {wrong}. Fix: write a value of this kind{hint}.")


def _hints(cls: type) -> dict[str, Any]:
    """Annotations of the constructor; none of those that cannot be resolved (names imported for type checkers only)."""
    constructor: Any = cls.__init__  # type: ignore[misc]
    try:
        return typing.get_type_hints(constructor, include_extras=True)
    except Exception:
        raw = {name: p.annotation for name, p in inspect.signature(constructor).parameters.items()}
        plain = {"int": int, "float": float, "bool": bool, "str": str, "int | None": int | None,
                 "float | None": float | None, "str | None": str | None}
        return {name: plain[text] for name, text in raw.items() if isinstance(text, str) and text in plain}


def _of_another_type(value: Any, annotation: Any, default: Any) -> str | None:
    """What is wrong with the type or range of a value; ``None`` if nothing is, or nothing is known."""
    if annotation is inspect.Parameter.empty:
        if not isinstance(default, (bool, int, float, str)):
            return None
        annotation = type(default)
    if value is None and default is None:
        return None
    try:
        # As JSON, so that a list is taken for any kind of sequence, and nothing is converted otherwise.
        TypeAdapter(annotation).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        return _explained(error, value)
    except (PydanticUserError, TypeError, ValueError):
        return None  # a type that pydantic does not know, or a value that is no plain data
    return None


def _explained(error: ValidationError, value: Any) -> str:
    problems = error.errors(include_url=False)
    kinds = list(dict.fromkeys(_WORDS[p["type"]] for p in problems if p["type"] in _WORDS))
    if not kinds or len(kinds) < len({p["type"] for p in problems}):
        text = problems[0]["msg"].removeprefix("Input should be ")
        kinds = [text.replace("greater than or equal to", "a number from").replace("greater than", "a number above")]
    return f"{' or '.join(kinds)}, found {shortened(value)}"


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    return not isinstance(value, (list, tuple)) or all(map(_finite, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(default: Any) -> bool:
    return isinstance(default, int) and not isinstance(default, bool) and default > 0
