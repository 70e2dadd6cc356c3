"""Any arguments of the command line: status 0, or 2 with a message; never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.cli import main

from .mutate import HOSTILE, LONG, SMOKE, bounded, slow

# Those that end soon, whatever their options say.
COMMANDS = ["list", "show", "plugins", "env", "predict", "pull", "push", "registry", "cache", "import", "leaderboard"]
OPTIONS = [
    "--json", "--help", "--to", "--model", "--smiles", "--output", "--tag", "--dry-run", "--device", "--dtype", "--set",
    "--architecture", "--target", "--limit", "--unit", "--schema", "--elements", "-", "--", "-h", "add", "remove",
    "list",
]
VALUES = [
    "painn-qm9", "painn", "qm9", "hf:org/name", "hf:", "hf:org/name@" + "a" * 40, "dir:.", "dir:", ".", "/", "C", "nan",
    "/dev/null", "/dev/zero", "", " ", "*", "~nosuchuser", "~nosuchuser/card.yaml", "org/name", "1e999", "cuda:99",
    "tpu", "@", "a@1", "no.xyz", "card.yaml", "registry.yaml",
]
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
arguments = st.lists(st.sampled_from(OPTIONS) | st.sampled_from(VALUES) | st.sampled_from(HOSTILE) | texts, max_size=4)


def command_line(words: list[str]) -> None:
    try:
        main(words)
    except SystemExit as stop:
        assert stop.code in (None, 0, 2), words


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@SMOKE
@given(st.sampled_from(["list", "show", "plugins", "registry", "cache", "pull"]), arguments)
def test_some_command_lines(offline: None, command: str, words: list[str]) -> None:
    command_line([command, *words])


@slow
@LONG
@given(st.sampled_from(COMMANDS), arguments)
@bounded
def test_many_command_lines(offline: None, command: str, words: list[str]) -> None:
    command_line([command, *words])
