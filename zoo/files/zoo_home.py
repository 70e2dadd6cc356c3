"""The folder of a user's files: registry, data sets, locks, compiled libraries."""

from __future__ import annotations

import os
from pathlib import Path

from zoo.files.user_paths import user_path

__all__ = ["home"]


def home() -> Path:
    """``$ZOO_HOME``, by default ``~/.zoo``: the user's registry, data sets and locks."""
    return user_path(os.environ.get("ZOO_HOME") or "~/.zoo")
