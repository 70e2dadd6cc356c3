"""Files that appear whole or not at all, and older ones of the same name that are not lost."""

from __future__ import annotations

import filecmp
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

__all__ = ["keep_older", "replacing", "set_aside", "write_text"]

log = logging.getLogger("zoo")


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


@contextmanager
def keep_older(*paths: Path | None) -> Iterator[None]:
    """Keep files that the block replaces by others: ``out.png`` becomes ``out.1.png``, and a warning says so.

    A file that the block leaves as it was, byte by byte, is not kept twice.
    """
    kept = {path: _free(path) for path in paths if path is not None and path.is_file()}
    for path, older in kept.items():
        shutil.copy2(path, older)
    try:
        yield
    finally:
        for path, older in kept.items():
            if path.is_file() and filecmp.cmp(path, older, shallow=False):
                older.unlink()
            else:
                _warn(path, older)


def set_aside(path: Path) -> None:
    """Rename a file that is in the way, as :func:`keep_older` does, before another one is begun."""
    if path.is_file():
        older = _free(path)
        path.rename(older)
        _warn(path, older)


def _warn(path: Path, older: Path) -> None:
    log.warning("%s existed already: the older file is now %s", path, older)


def _free(path: Path) -> Path:
    return next(free for number in count(1)
                if not (free := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists())


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8."""
    with replacing(path) as staging:
        staging.write_text(text, encoding="utf-8", newline="\n")
