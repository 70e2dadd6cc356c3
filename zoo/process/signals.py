"""A scheduler's warning ends the run at the next step, with a checkpoint."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Notice", "watched"]


class Notice:
    """Whether a signal has come."""

    def __init__(self) -> None:
        self.received = False


@contextmanager
def watched(*names: str) -> Iterator[Notice]:
    """Take note of signals inside this block, SIGTERM and SIGUSR1 if none is named; the former handlers come back."""
    notice = Notice()

    def note(number: int, frame: Any) -> None:
        notice.received = True

    wanted = [getattr(signal, name) for name in names or ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    try:
        before = {number: signal.signal(number, note) for number in wanted}
    except ValueError:  # not in the main thread: whoever runs us takes care of signals
        before = {}
    try:
        yield notice
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
