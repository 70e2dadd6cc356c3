"""Small files that a stranger may have written: only a regular file is read, and never more of it than is allowed."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

__all__ = ["MAX_JSON", "parse_json", "read_json", "read_regular"]

MAX_JSON = 16_000_000


def read_regular(path: Path, limit: int) -> bytes:
    """The bytes of a regular file: at most ``limit + 1`` of them, so that the caller sees one that is too long.

    Raises:
        OSError: it cannot be read, or it is a device, a pipe, a socket or a folder; ``strerror`` says which.
    """
    try:
        # Without blocking: opening a pipe would wait for whoever writes into it.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError:  # a NUL, or half of a surrogate pair
        raise OSError(errno.EINVAL, "no path can have these characters", repr(str(path))) from None
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, f"is {_kind(mode)}, not a file", str(path))
        pieces, left = [], limit + 1
        while left > 0 and (piece := os.read(handle, min(left, 1 << 20))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(handle)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe",
             stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "something else")


def read_json(path: Path, limit: int = MAX_JSON) -> Any:
    """A JSON file that may be anybody's.

    Raises:
        OSError: as :func:`read_regular`.
        ValueError: longer than ``limit`` bytes, not UTF-8, not JSON, or nested too deeply.
    """
    raw = read_regular(path, limit)
    if len(raw) > limit:
        raise ValueError(f"it has more than {limit:,} bytes")
    return parse_json(raw)


def parse_json(raw: bytes) -> Any:
    """Raises ``ValueError`` for whatever is wrong with it."""
    try:
        return json.loads(raw)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
