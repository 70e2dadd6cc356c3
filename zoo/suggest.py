"""Nearest known names, for errors about unknown ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest"]


def nearest(name: str, known: Iterable[str], *, n: int = 3) -> list[str]:
    """Up to ``n`` known names that resemble ``name``, best first; case does not count."""
    by_folded: dict[str, list[str]] = {}
    for candidate in sorted(set(known)):
        by_folded.setdefault(candidate.casefold(), []).append(candidate)
    close = difflib.get_close_matches(str(name).casefold(), by_folded, n=n, cutoff=0.6)
    return [candidate for folded in close for candidate in by_folded[folded]][:n]


def did_you_mean(name: str, known: Iterable[str], *, n: int = 1) -> str:
    """The end of a sentence: ``"; did you mean 'schnet'?"``, or ``"."`` when nothing is near."""
    close = [f"'{candidate}'" for candidate in nearest(name, known, n=n)]
    return f"; did you mean {' or '.join(close)}?" if close else "."
