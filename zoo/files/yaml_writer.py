"""Writes plain data as YAML that :mod:`zoo.files.yaml_loader` reads back exactly: keys, order, floats, line breaks.

Not a subclass of PyYAML's dumper: with our folding, one-line lists, quotes and refusals that took 80 lines, not 109,
but ten times as long (0.2 s a card).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.errors import CardError, shortened
from zoo.files.yaml_loader import MAX_DIGITS, is_plain_text

__all__ = ["dump_yaml"]

WIDTH = 110

# Text that needs no quotes: no indicator at its start, nothing that ends a flow item or opens a comment.
_START, _REST = r"[\w./+°·×²³<=(Å]", r"[\w./+°·×²³<>=()Å~^%;@!?' -]"
_PLAIN_IN_FLOW = re.compile(rf"{_START}{_REST}*(?<! )")
_PLAIN_IN_BLOCK = re.compile(rf"{_START}(?:{_REST}|[],[{{}}&*\"–—]|:(?=[^ ])|(?<=[^ ])#)*(?<! )")
_KEY = re.compile(r"[\w.+/-]+")
_PRINTABLE = re.compile(r"[\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*")
_BREAKS = re.compile("[\x85\u2028\u2029\r]")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def dump_yaml(data: Mapping[str, Any] | Sequence[Any]) -> str:
    """A mapping or list that is not empty as YAML; nested values that fit are written on one line.

    Raises:
        CardError: a value or key that plain YAML cannot express.
    """
    return "".join(f"{line}\n" for line in _block(data, 0))


def _block(value: Any, indent: int) -> list[str]:
    """Lines of a non-empty mapping or list in block style."""
    pad = " " * indent
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, inner in value.items():
            lines += _entry(f"{pad}{_key(key)}:", inner, indent)
        return lines
    for inner in value:
        if isinstance(inner, (Mapping, list, tuple)) and inner and not _fits(inner, indent + 2):
            first, *rest = _block(inner, indent + 2)
            lines += [f"{pad}- {first.lstrip(' ')}", *rest]
        else:
            lines += _entry(f"{pad}-", inner, indent)
    return lines


def _entry(head: str, value: Any, indent: int) -> list[str]:
    """``head value`` on one line where that fits, else the head and the value below it."""
    if isinstance(value, str):
        return _text_lines(head, value, indent + 2)
    if not isinstance(value, (Mapping, list, tuple)) or not value or _fits(value, len(head) + 1):
        return [f"{head} {_flow(value)}"]
    return [head, *_block(value, indent + 2)]


def _fits(value: Any, used: int) -> bool:
    """Whether a collection reads well on one line: short, and no mapping inside."""
    inner = list(value.values()) if isinstance(value, Mapping) else list(value)
    if any(isinstance(v, Mapping) and v for v in inner):
        return False
    return not any(isinstance(v, str) and "\n" in v for v in inner) and used + len(_flow(value)) <= WIDTH


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(v) for v in value) + "]"
    return _text(value) if isinstance(value, str) else _number(value)


def _number(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if type(value) is int and abs(value) < 10**MAX_DIGITS:
        return str(value)
    if type(value) is float:
        return repr(value) if math.isfinite(value) else {math.inf: ".inf", -math.inf: "-.inf"}.get(value, ".nan")
    raise CardError(f"cannot write {shortened(value)} ({type(value).__name__}) to YAML. "
                    "Fix: use text, numbers, lists and mappings.")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise CardError(f"cannot write the key {key!r} ({type(key).__name__}) to YAML. Fix: use text.")
    return key if _KEY.fullmatch(key) and is_plain_text(key) and not key.startswith(("-", "...")) else _quoted(key)


def _text(text: str, plain: re.Pattern[str] = _PLAIN_IN_FLOW) -> str:
    return text if plain.fullmatch(text) and is_plain_text(text) and not text.startswith("...") else _quoted(text)


def _quoted(text: str) -> str:
    if "\0" in text:
        raise CardError(f"cannot write {shortened(text)} to YAML: it holds a NUL character. Fix: correct the text.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise CardError(f"cannot write {text!r} to YAML: it holds half of a surrogate pair. "
                        "Fix: correct the text.") from None
    return '"' + "".join(_ESCAPES.get(c, c if _plain_character(c) else _escape(c)) for c in text) + '"'


def _plain_character(character: str) -> bool:
    return bool(_PRINTABLE.fullmatch(character)) and not _BREAKS.match(character)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _text_lines(head: str, text: str, indent: int) -> list[str]:
    """Short text on the line; several lines as a literal block; a long line folded, where that is exact."""
    clean = bool(_PRINTABLE.fullmatch(text)) and not _BREAKS.search(text) and "\t" not in text
    pad = " " * indent
    if "\n" in text:
        body = text[:-1] if text.endswith("\n") else text
        lines = body.split("\n")
        exact = clean and lines[0][:1] not in ("", " ") and lines[-1] and not any(v.isspace() for v in lines)
        if exact:
            keep = "|" if body != text else "|-"
            return [f"{head} {keep}", *(pad + line if line else "" for line in lines)]
    elif clean and len(head) + len(text) > WIDTH and "  " not in text and text == text.strip(" ") and " " in text:
        return [f"{head} >-", *(pad + line for line in _wrap(text.split(" "), WIDTH - indent))]
    return [f"{head} {_text(text, _PLAIN_IN_BLOCK)}"]


def _wrap(words: Sequence[str], width: int) -> list[str]:
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
