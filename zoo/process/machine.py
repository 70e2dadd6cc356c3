"""Process settings that make training and large structures faster on a CPU. Nothing happens at import."""

from __future__ import annotations

import ctypes
import sys
import warnings

import torch

__all__ = ["describe", "keep_memory", "prepare"]

# Parameters of glibc's mallopt(3), malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_KEEP = (1 << 31) - 1
"""Bytes; the most that mallopt takes."""


def prepare() -> dict[str, bool]:
    """Keep freed memory in the process and flush denormals to zero; call before the first tensor operation.

    Otherwise large temporaries are returned to the kernel after every operation, and products of small activations
    become denormal numbers, which are a hundred times slower.

    Returns which of ``malloc`` and ``flush_denormal`` took effect. Worker threads that have started already may keep
    denormals, depending on the version of torch. Results would then depend on the thread, so the setting is left off,
    with a warning.
    """
    return {"malloc": keep_memory(), "flush_denormal": _flush_denormals()}


def describe(settings: dict[str, bool]) -> dict[str, str | int | bool]:
    """What bitwise resume depends on: same torch, threads, device kind and denormal handling."""
    return {"torch": str(torch.__version__), "threads": torch.get_num_threads(), **settings}


def keep_memory() -> bool:
    """Keep freed memory in the process, with no effect on any number. Whether it took effect: only with glibc.

    For commands only: a library must not change the process of the program that imports it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # not glibc
        return False
    # The mmap threshold has a ceiling (32 MiB on 64 bits); a value above it is refused and leaves the default.
    ok = mallopt(_M_MMAP_THRESHOLD, _KEEP) or mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    return bool(ok and mallopt(_M_TRIM_THRESHOLD, _KEEP) and mallopt(_M_TOP_PAD, 64 << 20))


def _flush_denormals() -> bool:
    if not torch.set_flush_denormal(True):
        return False
    if _every_thread_flushes():
        return True
    torch.set_flush_denormal(False)
    warnings.warn("denormals are not flushed to zero, which slows CPU training: torch had already started its worker "
                  "threads. Call zoo.train before other torch work, or use the command line", stacklevel=3)
    return False


def _every_thread_flushes() -> bool:
    """Whether every worker thread flushes denormals; tested by a computation."""
    tiny = torch.full((1 << 20,), 1e-40)
    return not bool((tiny * 1.0).count_nonzero())
