"""Signals, such as a scheduler's warning, that end a run at the next step with a checkpoint."""

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
    """Record signals inside this block, by default SIGTERM and SIGUSR1; the previous handlers are restored after it."""
    notice = Notice()

    def note(number: int, frame: Any) -> None:
        notice.received = True

    wanted = [getattr(signal, name) for name in names or ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    try:
        before = {number: signal.signal(number, note) for number in wanted}
    except ValueError:  # not in the main thread, where signal handlers cannot be set
        before = {}
    try:
        yield notice
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
