"""What the Hub's functions say while they work: lines on standard error."""

from __future__ import annotations

import sys

__all__ = ["notify"]


def notify(message: str) -> None:
    """Print a line on standard error."""
    print(message, file=sys.stderr, flush=True)
