"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["markdown_table"]

_RULES = {"l": "---", "r": "---:", "c": ":-:"}


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> str:
    """A table without a newline at its end; a ``|`` inside a cell is escaped.

    Args:
        align: a letter for each column, ``l``, ``r`` or ``c``; columns beyond its end are aligned like its last
            letter, and all of them left if it is empty.
    """
    letters = align + (align[-1:] or "l") * (len(header) - len(align))
    lines = [_line(header), f"|{'|'.join(_RULES[letter] for letter in letters)}|", *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
