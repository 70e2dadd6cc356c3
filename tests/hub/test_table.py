"""The documentation says what the tests show."""

from __future__ import annotations

from . import table


def test_the_table_in_the_documentation_is_the_one_of_the_tests() -> None:
    text = table.DOCUMENT.read_text()
    assert table.BEGIN + "\n" + table.render() + table.END in text, "run: python -m tests.hub.table"


def test_every_section_has_rows_and_no_situation_stands_twice() -> None:
    rows = table.rows()
    assert {one.section for one in rows} == set(table.SECTIONS)
    situations = [(one.section, one.situation) for one in rows]
    assert len(set(situations)) == len(situations)
