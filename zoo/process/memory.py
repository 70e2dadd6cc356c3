"""Running out of memory: recognise the error, and continue with smaller batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch

__all__ = ["halved_on_out_of_memory", "is_out_of_memory"]

log = logging.getLogger(__name__)

Items = TypeVar("Items", list[Any], np.ndarray)
Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means out of memory; torch's allocator for the CPU has no own error class."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def halved_on_out_of_memory(run: Callable[[Items], Result], items: Items) -> Iterator[tuple[Items, Result]]:
    """Compute a batch; if memory runs out, in halves, quarters and so on. The order is kept.

    Yields each part of ``items`` that was computed at once, with what ``run`` returned for it.

    Raises:
        RuntimeError, MemoryError: a single item does not fit, or ``run`` failed for another reason.
    """
    waiting = [items]
    while waiting:
        part = waiting.pop()
        try:
            result = run(part)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(part) == 1:
                raise
            log.warning("out of memory with %d structures in a batch: going on with half as many", len(part))
            half = len(part) // 2
            waiting += [part[half:], part[:half]]
            continue  # outside this block nothing refers to the error, whose frames hold the batch's tensors
        yield part, result
