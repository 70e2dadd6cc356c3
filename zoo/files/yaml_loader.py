"""A strict YAML reader: the plain part of YAML 1.2 that a card needs, and the line of everything.

Scalars follow the YAML 1.2 core schema: ``1e-3`` is a float, ``No``, ``on`` and ``2024-01-31`` are text, ``0o17`` is an
integer and ``017`` is 17. Duplicate keys, keys that are not text, tags, anchors, aliases, second documents, NUL
characters, and numbers that are too long (39 digits) or too large are refused. One addition: 40 or more hexadecimal
digits are always text, so that a commit id made of digits stays one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zoo.errors import CardError, shortened
from zoo.files.bounded_reads import read_regular

__all__ = ["Document", "is_plain_text", "load_yaml", "parse_yaml"]

MAX_DEPTH = 32
MAX_KEY = 1_000
MAX_VALUES = 100_000
MAX_BYTES = 1_000_000
MAX_DIGITS = 39
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"

Place = tuple[str | int, ...]

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMERIC = frozenset("+-.0123456789")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+(\.[0-9]*)?|(\.[0-9]+))([eE][-+]?[0-9]+)?")  # without any group: an integer
_OCTAL, _HEX = re.compile(r"0o[0-7]+"), re.compile(r"0x[0-9a-fA-F]+")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DIGEST = re.compile(r"[0-9a-f]{40,}")

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # only its parser is used; libyaml's is ten times faster


@dataclass(frozen=True)
class Document:
    """A parsed document.

    Attributes:
        data: plain dicts, lists, text, numbers, booleans and None.
        lines: 1-based line of every key and list item, by its place, e.g. ``("targets", "U0", "unit")``.
        source: what errors call the document, mostly its path.
        text: as it was read.
    """

    data: Any
    lines: dict[Place, int] = field(default_factory=dict)
    source: str = "<text>"
    text: str = ""

    def where(self, *place: str | int) -> str:
        """``"card.yaml:12: targets.U0.unit"``; the line is that of the nearest part that is written."""
        line = next((self.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.lines), None)
        path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".")
        return ": ".join(part for part in (f"{self.source}:{line}" if line else self.source, path) if part)

    def changed(self, data: Any) -> Document:
        """The document with other data; what is the same at the same place keeps its line."""
        lines = {place: line for place, line in self.lines.items()
                 if _is_container(new := _at(data, place)) or (new is not _NOTHING and new == _at(self.data, place))}
        return Document(data, lines, self.source, self.text)


_NOTHING = object()


def _at(value: Any, place: Place) -> Any:
    """The value at a place, or ``_NOTHING``."""
    for part in place:
        known = part in value if isinstance(value, dict) else isinstance(value, list) and part in range(len(value))
        if not known:
            return _NOTHING
        value = value[part]
    return value


def _is_container(value: Any) -> bool:
    return isinstance(value, (dict, list))


def load_yaml(path: Path) -> Document:
    """Read and parse a file.

    Raises:
        CardError: it cannot be read, is not UTF-8, or is not the YAML described above; with the line.
    """
    try:
        raw = read_regular(path, MAX_BYTES)
    except OSError as error:
        raise CardError(f"{path}: cannot be read: {error.strerror or error}. Fix: check the path.") from None
    if len(raw) > MAX_BYTES:
        raise CardError(f"{path}: has more than {MAX_BYTES:,} bytes, the most that a card or registry may have. "
                        "Fix: shorten it.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise CardError(f"{path}:{line}: is not UTF-8 text (byte {raw[error.start]:#04x}). "
                        "Fix: save it as UTF-8.") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str = "<text>") -> Document:
    """Parse text. Raises as :func:`load_yaml`."""
    document = Document(None, {}, source, text)
    try:
        builder = _Builder(yaml.parse(text, Loader=_LOADER), document)
        return Document(builder.document(), document.lines, source, text)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        detail = ", ".join(part for part in (error.context, error.problem) if part)
        if "maximum nesting depth" in detail:  # newer parsers stop on their own before the depth is seen here
            raise CardError(f"{source}{line}: {_TOO_DEEP}. Fix: nest less.") from None
        raise CardError(f"{source}{line}: is not valid YAML: {detail}. Fix: correct this line.") from None
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise CardError(f"{source}: is not valid YAML: {error}. Fix: correct this place.") from None


def resolve_plain(text: str) -> Any:
    """The value of an unquoted scalar.

    Raises:
        ValueError: a number that is too long or too large.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in _NUMERIC or _DIGEST.fullmatch(text):
        return text
    if (decimal := _DECIMAL.fullmatch(text)) is not None:
        return _integer(text, 10) if decimal.lastindex is None else _finite(text)
    if _OCTAL.fullmatch(text):
        return _integer(text[2:], 8)
    if _HEX.fullmatch(text):
        return _integer(text[2:], 16)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def _integer(digits: str, base: int) -> int:
    # Python itself refuses to read or write decimal numbers of more than 4,300 digits.
    if len(digits.lstrip("+-0")) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(digits):,} digits, more than {MAX_DIGITS}")
    return int(digits, base)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{shortened(text)} is too large for a number; infinity is written .inf")
    return value


def is_plain_text(text: str) -> bool:
    """Whether these characters, unquoted, would be read as text and not as a number, a boolean or null."""
    try:
        return isinstance(resolve_plain(text), str)
    except ValueError:
        return False


class _Builder:
    """Turns parser events into plain data. Works on events, so that an alias is refused before it can expand."""

    def __init__(self, events: Iterator[yaml.Event], document: Document) -> None:
        self.events = events
        self.out = document

    def document(self) -> Any:
        data, seen = None, False
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if seen:
                    raise self.error(event, "a second document starts here: keep one a file")
                seen, data = True, self.value(next(self.events), ())
        return data

    def value(self, event: yaml.Event, place: Place) -> Any:
        if isinstance(event, yaml.AliasEvent):
            raise self.error(event, f"alias '*{event.anchor}': write the value out")
        if event.anchor is not None:
            raise self.error(event, f"anchor '&{event.anchor}': aliases are not supported, write the value out")
        if event.tag is not None:
            raise self.error(event, f"tag '{event.tag}': tags are not supported, leave it out")
        if len(self.out.lines) > MAX_VALUES:
            raise self.error(event, f"more than {MAX_VALUES:,} values in one file")
        if len(place) > MAX_DEPTH:
            raise self.error(event, _TOO_DEEP)
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(place)
        return self.scalar(event)

    def mapping(self, place: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.value(event, place)
            if not isinstance(key, str):
                scalar = isinstance(event, yaml.ScalarEvent)
                hint = f"write '{event.value[:MAX_KEY]}' in quotes" if scalar else "use text"
                raise self.error(event, f"key {shortened(key)} is not text: {hint}")
            if len(key) > MAX_KEY:
                raise self.error(event, f"a key of {len(key):,} characters, more than {MAX_KEY}")
            inner = (*place, key)
            if key in result:
                raise self.error(event, f"duplicate key '{key}', first on line {self.out.lines[inner]}")
            self.out.lines[inner] = event.start_mark.line + 1
            result[key] = None  # so that a duplicate further down is seen even where the value is null
            result[key] = self.value(next(self.events), inner)
        return result

    def sequence(self, place: Place) -> list[Any]:
        result: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            inner = (*place, len(result))
            self.out.lines[inner] = event.start_mark.line + 1
            result.append(self.value(event, inner))
        return result

    def scalar(self, event: yaml.ScalarEvent) -> Any:
        if "\0" in event.value:
            raise self.error(event, "a NUL character in a text")
        if not event.implicit[0]:
            return event.value
        try:
            return resolve_plain(event.value)
        except ValueError as error:
            raise self.error(event, str(error)) from None

    def error(self, event: yaml.Event, message: str) -> CardError:
        return CardError(f"{self.out.source}:{event.start_mark.line + 1}: {message}. Fix: correct this line.")
