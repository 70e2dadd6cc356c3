"""How long the Hub may make us wait: what it asks for in ``Retry-After`` is announced, and limited.

The client sleeps as long as it is asked to, whatever that is. A hook on its session sees each answer first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from zoo.hub.notices import notify
from zoo.hub.trouble import TooLongError, asked_wait

__all__ = ["LONGEST_WAIT", "TOTAL_WAIT", "limited_waits"]

LONGEST_WAIT = 30.0
"""Seconds that a single answer may ask for."""
TOTAL_WAIT = 60.0
"""Seconds that the answers to one step, such as a download or a push, may ask for together."""


class _Budget:
    """What the answers to one step have asked for so far."""

    def __init__(self) -> None:
        self.asked = 0.0


# Uploads run in threads of the client's own, so a context variable would not reach them.
_active: list[_Budget] = []
_lock = Lock()


@contextmanager
def limited_waits() -> Iterator[None]:
    """Within this block, an answer that asks to wait too long raises :class:`TooLongError` in place of sleeping."""
    from huggingface_hub.utils import get_session

    session, budget = get_session(), _Budget()
    with _lock:
        hooks = session.event_hooks
        if _see_answer not in hooks.get("response", []):
            # Left there, where it does nothing outside of such a block: taking it off could undo another thread's.
            session.event_hooks = {**hooks, "response": [*hooks.get("response", []), _see_answer]}
        _active.append(budget)
    try:
        yield
    finally:
        with _lock:
            _active.remove(budget)


def _see_answer(response: Any) -> None:
    if response.status_code != 429 and response.status_code < 500:
        return
    asked = asked_wait(response)
    if asked is None or not asked:
        return
    with _lock:
        if not _active:
            return
        for budget in _active:
            budget.asked += asked
        total = max(budget.asked for budget in _active)
    if asked > LONGEST_WAIT or total > TOTAL_WAIT:
        raise TooLongError(response)
    notify(f"zoo: {response.url.host} asks to wait {asked:.0f} s before the next request; waiting")
