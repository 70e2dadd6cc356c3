"""Tables of `zoo predict`: how many structures stand beside each other, and from which number on below each other."""

from __future__ import annotations

import ase
import pytest

from zoo.cli.prediction_tables import show
from zoo.inference.rows import Predicted
from zoo.inference.writers import Heading


@pytest.mark.parametrize(("count", "tables"), [(1, 1), (3, 1), (4, 2), (9, 3), (10, 1)])
def test_every_structure_is_in_one_table(count, tables, capsys):
    rows = [Predicted(f"s{i:02d}", ase.Atoms("H"), values={"U0": float(i)}) for i in range(count)]
    show(Heading("some-model", {"U0": "eV"}), rows)
    printed = capsys.readouterr().out
    assert printed.count("some-model") == tables
    assert all(printed.count(row.label) == 1 for row in rows)
    assert ("every digit" in printed) == (count > 9)
