"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing", "write_text"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file next to ``path``, with its suffix; renamed to ``path`` if the block ends without an exception.

    An older file keeps its permissions. When the block fails, the older file stays and nothing else is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.{path.name}")
    try:
        yield staging
        with staging.open("rb") as file:
            os.fsync(file.fileno())
        if path.exists():
            staging.chmod(path.stat().st_mode & 0o777)
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8."""
    with replacing(path) as staging:
        staging.write_text(text, encoding="utf-8", newline="\n")
