"""Processes that share work of this one: spawned, because a fork would copy the threads of torch in an unusable state.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor

__all__ = ["in_one_thread", "processors", "spawned"]


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spawned(processes: int, *, one_thread: bool = False) -> ProcessPoolExecutor:
    """A pool whose processes leave Ctrl-C to this one.

    Args:
        one_thread: of OpenMP and torch in each process; imports torch there.
    """
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"),
                               initializer=_start_with_one_thread if one_thread else _start)


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends the others


def _start_with_one_thread() -> None:
    _start()
    in_one_thread()


def in_one_thread() -> None:
    """Limit this process to one thread of OpenMP and torch; before other libraries are imported, them too."""
    os.environ["OMP_NUM_THREADS"] = "1"  # read by libraries when they are imported
    import torch

    torch.set_num_threads(1)
