"""What many tests do: fetch, resolve, damage a file, wait."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from . import models
from .client import Client

FETCH = "from zoo.hub import fetch\nr = fetch(args[0])\nresult = [str(r.weights), str(r.address)]"
RESOLVE = "from zoo.loading.resolution import resolve\nr = resolve(args[0])\nresult = [str(r.weights), r.origin]"
WEIGHTS = models.weights()
OTHER = models.weights(seed=1)


def flip(path: Path, keep_date: bool = False) -> None:
    """Change one bit of a file, in place, leaving its size and, if wanted, its date."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    target = path.resolve()
    target.write_bytes(bytes(data))
    if keep_date:
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def user_registry(client: Client, text: str) -> None:
    (client.home / "zoo").mkdir(exist_ok=True)
    (client.home / "zoo" / "registry.yaml").write_text(f"schema: 1\nmodels:\n{text}")


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
