"""What the fuzz targets share: how long they run, and how a valid file becomes a hostile one."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SECONDS = 15
"""For each target in `make test-all`."""

_CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
SMOKE = settings(max_examples=15, derandomize=True, deadline=None, database=None, suppress_health_check=_CHECKS)
LONG = settings(max_examples=500, deadline=None, database=None, suppress_health_check=_CHECKS)
slow = pytest.mark.slow

HOSTILE = [
    ".nan", ".inf", "-.inf", "-1", "0", "1e999", "1" * 60, "-" + "1" * 5000, "0x" + "f" * 5000, "null", "~", "true",
    "[]", "{}", "[[[[]]]]", "[" * 50, "{a: " * 40, "&a [1]", "*a", "!!python/object:os.system x", "'\\0'", '"\\0"',
    '"\\ud800"', "/dev/zero", "../../../etc/passwd", "~nosuchuser/x", "x" * 5000, "é\u2028\ufeff", "\t", "- ", "? ",
    ": ", "#", "|", ">-", "%YAML 9", "---", "...", "1000000000", "999999999999", "H", "Xx", "nan", "inf", "1e308",
    "abc", "\x85", "@", "%", "`",
]


def bounded(test: Callable[..., None]) -> Callable[..., None]:
    """A test that tries nothing more once ``SECONDS`` are over."""
    started: list[float] = []

    @wraps(test)
    def until(*args: Any, **kwargs: Any) -> None:
        started.append(time.monotonic())
        if started[-1] - started[0] < SECONDS:
            test(*args, **kwargs)

    return until


def edits(text: str) -> st.SearchStrategy[str]:
    """The text with some pieces deleted, doubled, swapped for hostile ones, or for any characters."""
    piece = st.sampled_from(HOSTILE) | st.text(max_size=8)
    edit = st.tuples(st.integers(0, max(0, len(text) - 1)), st.integers(0, 40), piece, st.booleans())

    def apply(changes: list[tuple[int, int, str, bool]]) -> str:
        out = text
        for at, length, new, doubled in changes:
            at = min(at, len(out))
            out = out[:at] + new + (out[at:] if doubled else out[at + length:])
        return out

    def value(changes: list[tuple[int, str]]) -> str:
        lines = text.split("\n")
        for at, new in changes:
            head, colon, _ = lines[at].partition(":")
            lines[at] = f"{head}{colon} {new}" if colon else new
        return "\n".join(lines)

    last = text.count("\n")
    values = st.lists(st.tuples(st.integers(0, last), piece), min_size=1, max_size=3).map(value)
    return values | st.lists(edit, min_size=1, max_size=4).map(apply)


def bytes_of(data: bytes) -> st.SearchStrategy[bytes]:
    """The bytes with some overwritten, cut or inserted."""
    edit = st.tuples(st.integers(0, len(data)), st.integers(0, 16), st.binary(max_size=16))

    def apply(changes: list[tuple[int, int, bytes]]) -> bytes:
        out = data
        for at, length, new in changes:
            out = out[:at] + new + out[at + length:]
        return out

    return st.lists(edit, min_size=1, max_size=4).map(apply)
