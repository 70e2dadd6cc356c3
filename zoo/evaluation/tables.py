"""A table of results as text, for the terminal, for Markdown and for LaTeX."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.files.markdown import markdown_table

__all__ = ["NONE", "ResultTable"]

NONE = "–"
"""The text of a cell without a value."""


@dataclass(frozen=True)
class ResultTable:
    """A title, a header and rows of text.

    Attributes:
        align: a letter for each column, ``l`` or ``r``; further columns are aligned like the last letter.
        bold: (row, column) of the emphasised cells, both from 0.
        notes: sentences to print below the table.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    align: str = "lr"
    bold: frozenset[tuple[int, int]] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> str:
        """``align`` for every column."""
        return (self.align + self.align[-1] * len(self.header))[:len(self.header)]

    def markdown(self) -> str:
        """The table without title and notes."""
        rows = [[f"**{text}**" if (number, column) in self.bold else text for column, text in enumerate(row)]
                for number, row in enumerate(self.rows)]
        return markdown_table(self.header, rows, self.columns)
