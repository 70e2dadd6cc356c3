"""How far a long command is, on a terminal, in a log, and when it is asked to be quiet."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from zoo.process import progress as module
from zoo.process.progress import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock in seconds that the test turns."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def screen(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120)


def test_a_log_gets_a_line_a_minute(clock):
    log = screen(terminal=False)
    with progress("md", screen=log) as tell:
        for clock[0] in range(0, 200, 10):
            tell(int(clock[0]), 20_000, "300 K [x]")
    assert log.file.getvalue().splitlines() == [f"md: {s} of 20,000 steps, 300 K [x]" for s in (60, 120, 180)]


def test_a_terminal_gets_a_bar():
    terminal = screen(terminal=True)
    with progress("scan", "structures", screen=terminal) as tell:
        tell(7, 9, "on the way")
    assert all(word in terminal.file.getvalue() for word in ("scan", "7/9", "structures", "on the way"))


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_says_nothing(clock, terminal):
    out = screen(terminal=terminal)
    with progress("md", quiet=True, screen=out) as tell:
        clock[0] = 1000.0
        tell(1, 2)
    assert out.file.getvalue() == ""


def test_an_error_inside_is_passed_on():
    with pytest.raises(KeyError), progress("md", screen=screen(terminal=True)):
        raise KeyError("broken")
