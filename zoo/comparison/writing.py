"""The files of a comparison: everything as JSON, the tables as Markdown and LaTeX, one picture a target."""

from __future__ import annotations

import json
from pathlib import Path

from zoo.comparison.pictures import draw
from zoo.comparison.result import Comparison
from zoo.comparison.tables import Table, caption, failures, tables
from zoo.errors import MissingExtraError
from zoo.files.replacing import write_text

__all__ = ["latex", "markdown", "write"]

_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "Å": r"\AA{}", "–": "--", "…": r"\dots{}",
          "^": r"\textasciicircum{}"}


def write(found: Comparison, out: Path) -> None:
    """Everything into ``out``; without matplotlib, everything but the pictures."""
    pictures = {}
    for target in found.targets:
        if any(cell.find(target) is not None for cell in found.cells):
            try:
                pictures[target] = draw(found, target, out / f"{target}.png")
            except MissingExtraError:
                break
    write_text(out / "comparison.json", json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n")
    write_text(out / "comparison.md", markdown(found, pictures))
    write_text(out / "comparison.tex", latex(found))


def markdown(found: Comparison, pictures: dict[str, Path] | None = None) -> str:
    """Tables, caption, failures and links to the pictures."""
    parts = [f"**{table.title}**\n\n{_markdown(table)}" for table in tables(found)]
    parts.append(caption(found))
    if found.interrupted:
        parts.append("Interrupted: not all cells were trained.")
    if found.failures:
        parts.append("Failed:\n\n" + "\n".join(f"- {' '.join(line.split())}" for line in failures(found)))
    parts += [f"![{target}: error against training-set size, parameters and time]({path.name})"
              for target, path in (pictures or {}).items()]
    return "\n\n".join(parts) + "\n"


def latex(found: Comparison) -> str:
    """The tables for a paper, with the rules of the package booktabs."""
    parts = ["% needs \\usepackage{booktabs}"]
    for table in tables(found):
        lines = [" & ".join(map(_escape, table.head)) + r" \\", r"\midrule"]
        for number, row in enumerate(table.rows):
            lines.append(" & ".join(rf"\textbf{{{_escape(text)}}}" if (number, column) in table.best else _escape(text)
                                    for column, text in enumerate(row)) + r" \\")
        body = "\n".join(lines)
        columns = "".join("l" if name in ("model", "differs") else "r" for name in table.head)
        parts.append(f"\\begin{{table}}\n\\caption{{{_escape(table.title)}.}}\n\\begin{{tabular}}{{{columns}}}\n"
                     f"\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}")
    return "\n\n".join([*parts, "% " + caption(found)]) + "\n"


def _markdown(table: Table) -> str:
    marks = ["---" if name in ("model", "differs") else "---:" for name in table.head]
    lines = [f"| {' | '.join(table.head)} |", f"|{'|'.join(marks)}|"]
    for number, row in enumerate(table.rows):
        cells = [f"**{text}**" if (number, column) in table.best else text.replace("|", "\\|")
                 for column, text in enumerate(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _escape(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
