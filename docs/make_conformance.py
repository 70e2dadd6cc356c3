"""Write docs/experiments/conformance.md: what `zoo check --all` says of everything that comes with the zoo.

    python docs/make_conformance.py [REPORT.json ...]

Without reports, the check is run here, which takes minutes. Reports are what `zoo check NAME --json` printed, of the
parts of the zoo in any order. Verdicts are the same on every machine and are compared by a test; what was measured and
what it cost stand apart, with the machine.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.files.markdown import markdown_table
from zoo.registry.families import FAMILIES, model_order

PAGE = Path(__file__).with_name("experiments") / "conformance.md"
MARKS = {"pass": "✓", "fail": "✗", "exempt": "exempt", "not applicable": "–"}
OF_THE_MACHINE = ("shapes.device", "cost")
"""Sections and checks that say something of the machine."""

_WORST = ("fail", "exempt", "pass", "not applicable")
_HEAD = """# Conformance of what comes with the zoo

What `zoo check --all` finds, made by `make conformance`. The tests run the same checks and compare every verdict with
this page. What each check measures, and against which bound, `zoo check NAME` shows row by row;
[the kit itself is tested](../../tests/conformance/test_mutations.py) on backbones that break one promise each.
"""

Rows = Sequence[Mapping[str, Any]]
Verdicts = dict[str, dict[str, str]]


def main() -> int:
    reports = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]] or [measure()]
    rows = [row for report in reports for row in report["rows"]]
    PAGE.write_text(page(rows, reports[0]["environment"]), encoding="utf-8")
    failures = [row for row in rows if row["status"] == "fail"]
    for row in failures:
        print(f"{row['subject']}  {row['check']}  {row['of']}  {row['measured']}  {row['detail']}")
    return 2 if failures else 0


def measure() -> dict[str, Any]:
    from zoo.conformance.find import find_all
    from zoo.conformance.run import check_subjects, chosen

    subjects, left_out = find_all()
    subjects = [subject for subject in subjects if subject.plugin.builtin]
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    def on_row(row: Any) -> None:
        print(f"{row.subject}  {row.check}", file=sys.stderr)

    return check_subjects("the zoo", subjects, chosen(), on_row).to_dict()


def page(rows: Rows, environment: Mapping[str, str]) -> str:
    """The whole page."""
    found = verdicts(rows)
    models = [name for name in found if name not in FAMILIES]
    titles = {row["check"]: row["title"] for row in rows}
    machine = ", ".join(f"{key} {value}" for key, value in environment.items())
    return "\n".join([
        _HEAD, "## Architectures", "", "Random weights, preset `small`. ✓ holds, – does not apply (reasons below).", "",
        *_table(found, [f for f in FAMILIES if f in found], titles), "## Models", "",
        "The weights in the source tree. What depends on the architecture and its configuration alone is measured once "
        "for both.", "", *_table(found, sorted(models, key=model_order), titles),
        "## Exempt by declaration", "", *_exempt(rows), "## Not applicable", "", *_reasons(rows), "## Measured", "",
        f"The row nearest to its bound, on {machine}.", "", *_nearest(rows), "## Cost", "",
        "On the same machine: eight molecules of ethanol in float64; in brackets, the speed over that of `schnet`.", "",
        *_cost(rows), ""])


def verdicts(rows: Rows) -> Verdicts:
    """Subject → check → the worst status of its rows, without what says something of the machine."""
    found: Verdicts = {}
    for row in rows:
        if {row["check"], row["check"].partition(".")[0]}.isdisjoint(OF_THE_MACHINE):
            mine = found.setdefault(row["subject"], {})
            mine[row["check"]] = min(mine.get(row["check"], "not applicable"), row["status"], key=_WORST.index)
    return found


def read(text: str) -> Verdicts:
    """The verdicts that a page holds."""
    status = {mark: name for name, mark in MARKS.items()}
    found: Verdicts = {}
    for table in re.findall(r"^\| check \|.*?(?=\n\n)", text, flags=re.M | re.S):
        head, _, *lines = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in table.splitlines()]
        for name, *marks in lines:
            for subject, mark in zip(head[1:-1], marks):
                found.setdefault(subject, {})[name] = status[mark]
    return found


def _table(found: Verdicts, subjects: Sequence[str], titles: Mapping[str, str]) -> list[str]:
    checks = dict.fromkeys(check for subject in subjects for check in found[subject])
    header = ["check", *(f"`{name}`" for name in subjects), "what is claimed"]
    lines = [[f"`{check}`", *(MARKS[found[s][check]] for s in subjects), titles[check]] for check in checks]
    return [markdown_table(header, lines, "l" + "c" * len(subjects) + "l"), ""]


def _exempt(rows: Rows) -> list[str]:
    lines = [f"- `{row['subject']}`, `{row['check']}` {row['of']}: measured {_number(row['measured'])}, bound "
             f"{_number(row['bound'])}. {row['detail']}" for row in rows if row["status"] == "exempt"]
    return [*(lines or ["None."]), ""]


def _reasons(rows: Rows) -> list[str]:
    why: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["status"] == "not applicable":
            reason = row["detail"].partition("; measured on")[0]
            subjects = why.setdefault((reason, row["check"]), [])
            subjects += [name for name in (row["subject"],) if name not in subjects]
    everything = {row["subject"] for row in rows}
    merged: dict[tuple[str, str], list[str]] = {}
    for (reason, check), subjects in why.items():
        whose = "everything" if set(subjects) == everything else ", ".join(f"`{name}`" for name in subjects)
        merged.setdefault((reason, whose), []).append(check)
    return [*(f"- {', '.join(f'`{c}`' for c in checks)} of {whose}: {reason}"
              for (reason, whose), checks in merged.items()), ""]


def _nearest(rows: Rows) -> list[str]:
    worst: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        if row["bound"] is not None and row["measured"] is not None and row["status"] != "not applicable":
            worst[row["check"]] = max(worst.get(row["check"], row), row, key=_share)
    lines = [[f"`{check}`", _number(row["measured"]), _number(row["bound"]),
              " ".join(part for part in (f"`{row['subject']}`", row["of"], row["dtype"]) if part)]
             for check, row in worst.items()]
    return [markdown_table(["measurement", "found", "bound", "of"], lines, "lrrl"), ""]


def _share(row: Mapping[str, Any]) -> float:
    return row["measured"] / row["bound"] if row["bound"] else row["measured"]


def _cost(rows: Rows) -> list[str]:
    names = {"cost.parameters": "parameters", "cost.energy": "energies/s", "cost.forces": "with forces/s",
             "cost.memory": "KiB an atom kept for the backward pass", "cost.scaling": "p of time ~ N^p"}
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["check"] in names:
            ratio = re.search(r"([\d.]+) × schnet", row["detail"])
            cells.setdefault(row["subject"], {})[row["check"]] = (
                f"{row['measured']:,.0f}" if row["check"] == "cost.parameters" else
                _number(row["measured"]) + (f" ({ratio[1]} ×)" if ratio else ""))
    order = [name for name in FAMILIES if name in cells]
    order += sorted((name for name in cells if name not in FAMILIES), key=model_order)
    lines = [[f"`{name}`", *(cells[name].get(check, "") for check in names)] for name in order]
    return [markdown_table(["", *names.values()], lines, "lr")]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"


if __name__ == "__main__":
    sys.exit(main())
