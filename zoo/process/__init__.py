"""The process that the zoo runs in: allocator and denormals, signals, out of memory, progress on the screen.

Start with ``machine.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.process.memory import halved_on_out_of_memory, is_out_of_memory

__all__ = ["halved_on_out_of_memory", "is_out_of_memory"]

__getattr__ = lazy_names(__name__, {"halved_on_out_of_memory": "memory", "is_out_of_memory": "memory"})
