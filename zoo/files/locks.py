"""One process at a time: locks in ``$ZOO_HOME``, so that folders which cannot be written to can be locked too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import ZooError
from zoo.files.zoo_home import home

__all__ = ["locked"]


@contextmanager
def locked(path: Path, *, seconds: float, error: type[ZooError]) -> Iterator[None]:
    """Hold the lock of a path, whether something is there or not; others who ask for it wait.

    Raises:
        ZooError: of the class ``error``; somebody else has held the lock for ``seconds``; with 0, holds it now.
    """
    from filelock import FileLock, Timeout

    lock = home() / "locks" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=seconds):
            yield
    except Timeout:
        since = f" for {seconds:g} s" if seconds else ""
        raise error(f"{path}: another process has held its lock {lock}{since}; nothing was written. "
                    "Fix: wait for it, or end it, and run this again.") from None
