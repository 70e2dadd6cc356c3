"""How far a long command is: a bar on a terminal, a line a minute in a file or a queue's log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from zoo.cli import errors

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Tell", "progress"]

_LINE_S = 60.0


class Tell(Protocol):
    """Called with what is done and what there is in all; the note says more, such as the present temperature."""

    def __call__(self, done: int, of: int, note: str = ...) -> None: ...


@contextmanager
def progress(what: str, unit: str = "steps", *, quiet: bool = False, screen: Console | None = None) -> Iterator[Tell]:
    """Give a function that tells people on standard error how far ``what`` is, counted in ``unit``."""
    screen = errors() if screen is None else screen
    if quiet:
        yield lambda done, of, note="": None
    elif screen.is_terminal:
        yield from _bar(what, unit, screen)
    else:
        yield _lines(what, unit, screen)


def _bar(what: str, unit: str, screen: Console) -> Iterator[Tell]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
               TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=screen) as bar:
        task = bar.add_task(what, total=None, note="")
        yield lambda done, of, note="": bar.update(task, completed=done, total=of, note=note)


def _lines(what: str, unit: str, screen: Console) -> Tell:
    told = time.monotonic()

    def tell(done: int, of: int, note: str = "") -> None:
        nonlocal told
        if time.monotonic() - told >= _LINE_S:
            told = time.monotonic()
            screen.print(f"{what}: {done:,} of {of:,} {unit}{', ' * bool(note)}{note}", markup=False, soft_wrap=True)

    return tell
