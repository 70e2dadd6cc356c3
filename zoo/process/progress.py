"""Progress of a long command: a bar on a terminal, a line per minute in a file or a queue's log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ProgressCallback", "progress", "track"]

T = TypeVar("T")

_LINE_S = 60.0


class ProgressCallback(Protocol):
    """Called with the number of finished items, the number of all, and a note such as the present temperature."""

    def __call__(self, done: int, of: int, note: str = ...) -> None: ...


@contextmanager
def progress(what: str, unit: str = "steps", *, quiet: bool = False, screen: Console | None = None
             ) -> Iterator[ProgressCallback]:
    """Give a function that shows on standard error how far ``what`` is, counted in ``unit``."""
    if quiet:
        yield lambda done, of, note="": None
        return
    if screen is None:
        from rich.console import Console

        screen = Console(stderr=True, highlight=False)
    if screen.is_terminal:
        yield from _bar(what, unit, screen)
    else:
        yield _lines(what, unit, screen)


def track(items: Iterable[T], what: str, unit: str, *, total: int | None = None, enabled: bool = True) -> Iterator[T]:
    """Yield ``items`` and show how many of ``total`` are done; without a total, they are counted first."""
    if total is None:
        items = list(items)
        total = len(items)
    with progress(what, unit, quiet=not enabled) as report:
        for done, item in enumerate(items):
            report(done, total)
            yield item


def _bar(what: str, unit: str, screen: Console) -> Iterator[ProgressCallback]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
               TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=screen) as bar:
        task = bar.add_task(what, total=None, note="")
        yield lambda done, of, note="": bar.update(task, completed=done, total=of, note=note)


def _lines(what: str, unit: str, screen: Console) -> ProgressCallback:
    printed = time.monotonic()

    def report(done: int, of: int, note: str = "") -> None:
        nonlocal printed
        if time.monotonic() - printed >= _LINE_S:
            printed = time.monotonic()
            screen.print(f"{what}: {done:,} of {of:,} {unit}{', ' * bool(note)}{note}", markup=False, soft_wrap=True)

    return report
