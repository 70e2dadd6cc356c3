"""Every error a user can cause, and the nearest known names for those about unknown ones. Torch-free."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Says what was found, where, and ends in "Fix: " with the command or edit that helps.

    The command line prints it and exits with status 2.
    """


class UnknownNameError(ZooError):
    """A model, architecture, data set or preset that nothing installed offers."""


class CardError(ZooError):
    """A card or registry that cannot be read: the message carries file, line and, for a misspelt key, a suggestion."""


class PluginError(ZooError):
    """A plugin that cannot be imported, collides with another, or offers something malformed."""


class WeightsError(ZooError):
    """Weights that are not the ones the card promises: wrong hash, truncated, missing or mis-shaped tensors."""


class StructureError(ZooError):
    """A structure that a model does not accept: empty, not finite, coinciding atoms, unknown elements and so on."""


class DataError(ZooError):
    """A data set or property that is missing, malformed, or in an unknown unit."""


class TrainingError(ZooError):
    """A recipe that cannot run, or a run that cannot go on."""


class EvaluationError(ZooError):
    """Predictions that cannot be compared with labels as requested."""


class CalibrationError(ZooError):
    """A model or data that no error estimate can be calibrated with."""


class ExportError(ZooError):
    """A model that cannot be exported, or an exported file that is not what its description says."""


class HubError(ZooError):
    """The Hub cannot be reached, refuses, or does not hold what was asked for."""


class MissingExtraError(ZooError):
    """An optional dependency is not installed; the message holds the exact `pip install` line."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional dependency. Fix: pip install 'geometric-zoo[{extra}]'")


_LONGEST_NAME = 80


def nearest(name: str, known: Iterable[str], *, n: int = 3) -> list[str]:
    """Up to ``n`` known names that resemble ``name``, best first; case does not count. None for a long text."""
    if len(str(name)) > _LONGEST_NAME:
        return []
    by_folded: dict[str, list[str]] = {}
    for candidate in sorted(set(known)):
        by_folded.setdefault(candidate.casefold(), []).append(candidate)
    close = difflib.get_close_matches(str(name).casefold(), by_folded, n=n, cutoff=0.6)
    return [candidate for folded in close for candidate in by_folded[folded]][:n]


def shortened(value: object) -> str:
    """How a found value is written in a message: its ``repr``, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a whole number of thousands of digits"
    return text if len(text) <= 2 * _LONGEST_NAME else f"{text[:_LONGEST_NAME]}… ({len(text):,} characters)"


def did_you_mean(name: str, known: Iterable[str], *, n: int = 1) -> str:
    """The end of a sentence: ``"; did you mean 'schnet'?"``, or ``"."`` when nothing is near."""
    close = [f"'{candidate}'" for candidate in nearest(name, known, n=n)]
    return f"; did you mean {' or '.join(close)}?" if close else "."


def of_structure(label: str, error: Exception | None) -> str:
    """An error with the structure it is about, which it may name itself: ``"a.xyz: cannot be read: …"``."""
    text = str(error)
    return text if text.startswith(f"{label}:") else f"{label}: {text}"
