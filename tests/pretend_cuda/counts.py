"""What a pretend device counts: kernels by phase, operation and call site; synchronisations; copies from the host."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["COUNTS", "Counts", "in_phase"]

_OURS = ("/zoo/", "/zoo_plugins/", "/plugins/")


class Counts:
    """Counters since :meth:`clear`.

    Attributes:
        kernels: (phase, operation, call site) → number of operations that start a kernel.
        syncs: (what, call site) → number of times that the host waits for the device.
        blocking: (what, call site) → number of copies from the host that it waits for.
        queued: call site → number of copies from pinned memory that it does not wait for.
        before_kernel: called with phase and operation before each kernel; may raise, as a full device does.
    """

    def __init__(self) -> None:
        self.kernels: Counter[tuple[str, str, str]] = Counter()
        self.syncs: Counter[tuple[str, str]] = Counter()
        self.blocking: Counter[tuple[str, str]] = Counter()
        self.queued: Counter[str] = Counter()
        self.before_kernel: Callable[[str, str], None] | None = None
        self.now = "forward"

    def clear(self) -> None:
        for counter in (self.kernels, self.syncs, self.blocking, self.queued):
            counter.clear()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Kernels inside this block belong to this phase; a backward pass runs in threads, so it is of the process."""
        before, self.now = self.now, name
        try:
            yield
        finally:
            self.now = before

    def kernel(self, operation: str) -> None:
        if self.before_kernel is not None:
            self.before_kernel(self.now, operation)
        self.kernels[self.now, operation, _site()] += 1

    def sync(self, what: str, times: int = 1) -> None:
        self.syncs[what, _site()] += times

    def copy(self, what: str, *, blocking: bool) -> None:
        if blocking:
            self.blocking[what, _site()] += 1
        else:
            self.queued[_site()] += 1

    def summary(self, units: float = 1) -> dict[str, Any]:
        """JSON-able numbers per unit (step, search) with the call sites, the most frequent first."""
        phases: Counter[str] = Counter()
        operations: Counter[str] = Counter()
        sites: Counter[str] = Counter()
        for (phase, operation, site), n in self.kernels.items():
            phases[phase] += n
            operations[f"{phase}: {operation}"] += n
            sites[f"{phase}: {site}"] += n
        each = {"kernels": sum(phases.values()), "syncs": sum(self.syncs.values()),
                "blocking": sum(self.blocking.values()), "queued": sum(self.queued.values())}
        return {**{name: round(n / units, 2) for name, n in each.items()},
                "phases": _shares(phases, units), "operations": _shares(operations, units),
                "kernel sites": _shares(sites, units),
                "sync sites": _shares({f"{what} at {site}": n for (what, site), n in self.syncs.items()}, units),
                "copy sites": _shares({f"{what} at {site}": n for (what, site), n in self.blocking.items()}, units)}


COUNTS = Counts()


def in_phase(owner: Any, name: str, phase: str) -> None:
    """Count what a function or method does under a phase of its own."""
    original = getattr(owner, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        with COUNTS.phase(phase):
            return original(*args, **kwargs)

    setattr(owner, name, counted)


def _shares(counter: Any, units: float) -> dict[str, float]:
    return {key: round(n / units, 2) for key, n in sorted(counter.items(), key=lambda item: -item[1])}


def _site() -> str:
    """File and line of the innermost frame of the package; a backward pass runs in threads that have none."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if any(part in file for part in _OURS) and "/pretend_cuda/" not in file:
            parts = file.split("/")
            start = max(i for i, part in enumerate(parts) if part in ("zoo", "plugins", "zoo_plugins"))
            return f"{'/'.join(parts[start:])}:{frame.f_lineno}"
        frame = frame.f_back
    return "autograd"
