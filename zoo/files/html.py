"""Tables as HTML; whatever comes in is text, never markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["html_pairs", "html_table"]


def html_table(header: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", note: str = "") -> str:
    """A table with a heading above and a remark below it, both left out if empty."""
    head = "".join(f"<th>{escape(str(cell))}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return _framed(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>", title, note)


def html_pairs(rows: Iterable[tuple[str, object]], *, title: str = "", note: str = "") -> str:
    """Names and values; a row whose value is ``None`` or empty is left out."""
    body = "".join(f'<tr><th style="text-align:left">{escape(name)}</th>'
                   f'<td style="text-align:left">{escape(str(value))}</td></tr>'
                   for name, value in rows if value not in (None, ""))
    return _framed(f"<table><tbody>{body}</tbody></table>", title, note)


def _framed(table: str, title: str, note: str) -> str:
    above = f"<p><b>{escape(title)}</b></p>" if title else ""
    below = f"<p><small>{escape(note)}</small></p>" if note else ""
    return f"{above}{table}{below}"
