"""The files of a comparison: all results as JSON, the tables as Markdown and LaTeX, one figure a target."""

from __future__ import annotations

from pathlib import Path

from zoo.comparison.pictures import draw
from zoo.comparison.result import Comparison
from zoo.comparison.tables import caption, failures, tables
from zoo.files.atomic_writes import write_text
from zoo.files.strict_json import json_text

__all__ = ["latex", "markdown", "write"]

_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "Å": r"\AA{}", "–": "--", "…": r"\dots{}",
          "^": r"\textasciicircum{}"}


def write(found: Comparison, out: Path) -> None:
    """Write all files of a comparison into ``out``."""
    pictures = {target: draw(found, target, out / f"{target}.png") for target in found.targets
                if any(run.find(target) is not None for run in found.runs)}
    write_text(out / "comparison.json", json_text(found.to_dict()) + "\n")
    write_text(out / "comparison.md", markdown(found, pictures))
    write_text(out / "comparison.tex", latex(found))


def markdown(found: Comparison, pictures: dict[str, Path] | None = None) -> str:
    """Tables, caption, failures and the figures."""
    parts = [f"**{table.title}**\n\n{table.markdown()}" for table in tables(found)]
    parts.append(caption(found))
    if found.interrupted:
        parts.append("Interrupted: not all runs were trained.")
    if found.failures:
        parts.append("Failed:\n\n" + "\n".join(f"- {' '.join(line.split())}" for line in failures(found)))
    parts += [f"![{target}: error against training-set size, parameters and time]({path.name})"
              for target, path in (pictures or {}).items()]
    return "\n\n".join(parts) + "\n"


def latex(found: Comparison) -> str:
    """The tables for LaTeX with the package booktabs."""
    parts = ["% needs \\usepackage{booktabs}"]
    for table in tables(found):
        lines = [" & ".join(map(_escape, table.header)) + r" \\", r"\midrule"]
        for number, row in enumerate(table.rows):
            lines.append(" & ".join(rf"\textbf{{{_escape(text)}}}" if (number, column) in table.bold else _escape(text)
                                    for column, text in enumerate(row)) + r" \\")
        body = "\n".join(lines)
        parts.append(f"\\begin{{table}}\n\\caption{{{_escape(table.title)}.}}\n\\begin{{tabular}}{{{table.columns}}}\n"
                     f"\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}")
    return "\n\n".join([*parts, "% " + caption(found)]) + "\n"


def _escape(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
