"""Paths as people write them, with ``~`` for a home."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.errors import ZooError

__all__ = ["user_path"]


def user_path(text: str | os.PathLike[str]) -> Path:
    """The path with ``~`` or ``~name`` replaced by that user's home.

    Raises:
        ZooError: there is no such user, or the user of this process has no home.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ZooError(f"{str(text)!r}: there is no such user on this machine, or no home for it. "
                       "Fix: write the path in full.") from None
