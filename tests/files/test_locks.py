"""Locks: one holder at a time, and an error of the caller's kind for who waits too long."""

from __future__ import annotations

import threading

import pytest

from zoo.errors import HubError
from zoo.files.locks import locked


def test_one_holder_at_a_time(tmp_path):
    inside, most = 0, 0

    def hold() -> None:
        nonlocal inside, most
        for _ in range(20):
            with locked(tmp_path / "what", seconds=60, error=HubError):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_who_waits_too_long_gets_an_error(tmp_path):
    with locked(tmp_path / "one", seconds=1, error=HubError):
        with locked(tmp_path / "other", seconds=0.1, error=HubError):
            pass
        with pytest.raises(HubError, match=r"another process .* Fix: wait"), \
                locked(tmp_path / "one", seconds=0.1, error=HubError):
            pass
    assert not list(tmp_path.glob("*")), "locks are in ZOO_HOME, not next to what they lock"
