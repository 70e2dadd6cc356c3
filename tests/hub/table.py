"""The table of `docs/experiments/hub-faults.md`, made from the tests: `python -m tests.hub.table` writes it."""

from __future__ import annotations

from pathlib import Path

from . import (
    test_cache,
    test_data,
    test_faults,
    test_names,
    test_publish,
    test_pull,
    test_push,
    test_push_faults,
    test_refusals,
    test_waiting,
)
from .rows import ROWS, Row

WITH_ROWS = (test_cache, test_data, test_names, test_publish, test_pull, test_push, test_push_faults, test_refusals,
             test_waiting)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "experiments" / "hub-faults.md"
BEGIN = "<!-- the table below is made by the tests: python -m tests.hub.table -->\n"
END = "<!-- end of the table -->\n"
SECTIONS = {
    "network": "The network or the Hub fails during a pull",
    "access": "Who may have it",
    "machine": "This machine",
    "content": "What a repository may hold",
    "push": "Pushing",
}


def rows() -> list[Row]:
    """All rows: those that hang on tests, by file and line, and those of the lists of faults."""
    order = [module.__name__.rpartition(".")[2] for module in WITH_ROWS]
    network = [Row("network", case.name, case.outcome) for case in test_faults.CASES]
    again = "tried again: exactly one commit, tagged and pinned"
    refused = "an error; nothing half done; the next push succeeds"
    passing = [Row("push", name, again) for name, _ in test_push_faults.PASSING]
    lasting = [Row("push", name, refused) for name, *_ in test_push_faults.LASTING]
    hung = sorted(ROWS, key=lambda one: (order.index(one.place[0]), one.place[1]))
    return [*network, *hung, *passing, *lasting]


def render() -> str:
    lines = []
    for section, title in SECTIONS.items():
        lines += [f"**{title}**", "", "| situation | what comes of it |", "|---|---|"]
        lines += [f"| {one.situation} | {one.outcome} |" for one in rows() if one.section == section]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(before + BEGIN + "\n" + render() + END + after)


if __name__ == "__main__":
    main()
