"""``drawer:name`` is a folder of that name below the folder that TOYS_DRAWER names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def fetch(rest: str, folder: Path) -> Path:
    return Path(shutil.copytree(Path(os.environ["TOYS_DRAWER"]) / rest, folder / "model", dirs_exist_ok=True))
