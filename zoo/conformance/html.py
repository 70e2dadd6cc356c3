"""The report as one HTML file that needs nothing else. Torch-free."""

from __future__ import annotations

from html import escape
from pathlib import Path

from zoo.conformance.report import Report, Row
from zoo.files.replacing import write_text

__all__ = ["write_html"]

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1b1f24; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 2rem; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #d9dee3; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.pass { color: #17692d; } .fail { color: #b3261e; font-weight: 600; } .exempt { color: #8a5a00; }
.not-applicable { color: #6a737d; }
"""
_COLUMNS = ("check", "of", "measured", "bound", "status", "")


def write_html(report: Report, path: str | Path) -> Path:
    """Write the report to a file, which appears whole or not at all."""
    path = Path(path)
    write_text(path, _page(report))
    return path


def _page(report: Report) -> str:
    counts = ", ".join(f"{number} {status}" for status, number in report.counts.items() if number)
    environment = ", ".join(f"{name} {value}" for name, value in report.environment.items())
    verdict = "conforms" if report.passed else "does not conform"
    title = f"{escape(report.name)} {verdict}"
    parts = [f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>",
             f"<h1>{title}</h1><p>{escape(counts)} · {report.seconds:.0f} s<br>{escape(environment)}</p>"]
    for subject in dict.fromkeys(row.subject for row in report.rows):
        rows = [row for row in report.rows if row.subject == subject]
        for section in dict.fromkeys(row.section for row in rows):
            parts.append(f"<h2>{escape(subject)} · {escape(section)}</h2>")
            parts.append(_table([row for row in rows if row.section == section]))
    return "\n".join([*parts, "</html>\n"])


def _table(rows: list[Row]) -> str:
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    return f"<table><tr>{head}</tr>{''.join(_line(row) for row in rows)}</table>"


def _line(row: Row) -> str:
    number = ["" if value is None else f"{value:.3g}" for value in (row.measured, row.bound)]
    on = " ".join(part for part in (row.of, row.dtype) if part)
    check = f"<code>{escape(row.check.partition('.')[2])}</code><br>{escape(row.title)}"
    cells = [f"<td>{check}</td>", f"<td>{escape(on)}</td>", *(f"<td class='number'>{text}</td>" for text in number),
             f"<td class='{row.status.replace(' ', '-')}'>{row.status}</td>", f"<td>{escape(row.detail)}</td>"]
    return f"<tr>{''.join(cells)}</tr>"
