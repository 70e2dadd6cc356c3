"""Base class of the sections of a card: strict, frozen, open to ``x-…`` keys only; and readable errors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from zoo.errors import did_you_mean, shortened
from zoo.files.yaml_loader import Document

__all__ = ["Section", "explain", "problem"]


def _schema_extra(schema: dict[str, Any]) -> None:
    schema["additionalProperties"] = False
    schema["patternProperties"] = {"^x-": {}}


def problem(message: str, *place: str | int) -> PydanticCustomError:
    """The error that a validator raises about a value at ``place`` below the section that it checks."""
    return PydanticCustomError("problem", "{message}", {"message": message, "place": place})


class Section(BaseModel):
    """Base of a card and of its parts. Values are not converted (``"1"`` is no number); unknown keys are errors."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="allow", allow_inf_nan=False, validate_by_name=True, validate_by_alias=True,
        json_schema_extra=_schema_extra, protected_namespaces=(), defer_build=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in data:
            if key not in known and key not in cls.model_fields and not str(key).startswith("x-"):
                raise PydanticCustomError("unknown_key", "unknown key", {"key": key, "known": known})
        return data


_MOST_SHOWN = 20
_MOST_READ = 200  # of a file of errors, which costs time to explain

_WORDS = {
    "string_type": "expected text", "int_type": "expected a whole number", "float_type": "expected a number",
    "bool_type": "expected true or false", "list_type": "expected a list", "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
}


def explain(error: ValidationError, document: Document, *, within: tuple[str, ...] = ()) -> str:
    """The text of an error: for each problem a line with file, line, place, found and expected; then how to fix them.

    Args:
        within: place of the section that was checked, if it is not the whole document.
    """
    problems: list[str] = []
    found = error.errors(include_url=False)
    for item in found[:_MOST_READ]:
        # Names of union members in the location ("str", "Structure") are no keys of the file.
        place = _place_in((*within, *item["loc"]), document.data, exists=item["type"] == "unknown_key")
        message = _message(item, place)
        if item["type"] == "unknown_key":
            place = (*place, item["ctx"]["key"])
        if item["type"] == "problem":
            place = (*place, *item["ctx"]["place"])
        text = f"{document.where(*place)}: {message}"
        if text not in problems:
            problems.append(text)
    more = len(found) - _MOST_SHOWN if len(problems) > _MOST_SHOWN else 0
    shown = [*problems[:_MOST_SHOWN], *([f"… and {more:,} more problems"] if more else [])]
    return "\n".join(shown) + f"\nFix: correct {'this line' if len(problems) == 1 else 'these lines'}."


def _message(item: Any, place: tuple[Any, ...]) -> str:
    kind, found = item["type"], item.get("input")
    if kind == "unknown_key":
        return f"unknown key {shortened(item['ctx']['key'])}{did_you_mean(item['ctx']['key'], item['ctx']['known'])}"
    if kind == "missing":
        return "a target needs a unit, such as 'unit: eV'" if place[-1] == "unit" else "is missing"
    if kind == "problem":
        return item["ctx"]["message"]
    if kind == "value_error":
        return str(item["ctx"]["error"])
    if kind == "literal_error":
        return f"found {shortened(found)}, expected {item['ctx']['expected']}"
    if kind == "finite_number":
        return f"{found} is not finite"
    if kind in _WORDS:
        hint = ": write it in quotes" if kind == "string_type" and isinstance(found, (int, float, bool)) else ""
        return f"{_WORDS[kind]}, found {_short(found)}{hint}"
    message = item["msg"][:1].lower() + item["msg"][1:]
    return message if isinstance(found, (dict, list)) else f"{message}, found {_short(found)}"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else shortened(value)


def _place_in(loc: tuple[Any, ...], data: Any, *, exists: bool) -> tuple[Any, ...]:
    """The location without parts that are no keys of the file; the last may be missing there, unless it ``exists``."""
    place: list[Any] = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1 and not exists
        if isinstance(data, dict) and (part in data or last):
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            continue
        place.append(part)
    return tuple(place)
