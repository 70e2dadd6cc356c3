"""What commands print with --json can be read by every reader of JSON."""

from __future__ import annotations

import json
from pathlib import Path

import zoo.cli
from zoo.files.strict_json import json_text


def strict(text: str) -> object:
    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_numbers_that_are_not_finite_become_null() -> None:
    value = {"a": float("nan"), "b": [1.5, float("inf"), (float("-inf"), "é")], "c": {"d": 2, "e": None}}
    assert strict(json_text(value)) == {"a": None, "b": [1.5, None, [None, "é"]], "c": {"d": 2, "e": None}}
    assert "é" in json_text(value)


def test_no_command_writes_json_in_another_way() -> None:
    files = sorted(Path(zoo.cli.__file__).parent.glob("*.py"))
    assert len(files) > 20
    assert [file.name for file in files if "json.dump" in file.read_text(encoding="utf-8")] == []
