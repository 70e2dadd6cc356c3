"""Files that are replaced by others are kept under a number."""

from __future__ import annotations

import pytest

from zoo.files.atomic_writes import keep_older, set_aside, write_text


def test_an_older_file_is_kept_and_said(tmp_path, caplog):
    file = tmp_path / "out_0.5.txt"
    for text in ("one", "two", "two", "three"):
        with keep_older(file, None):
            write_text(file, text)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "out_0.5.txt": "three", "out_0.5.1.txt": "one", "out_0.5.2.txt": "two"}
    assert caplog.text.count("the older file is now") == 2


def test_nothing_is_kept_twice_when_writing_fails(tmp_path, caplog):
    file = tmp_path / "out.txt"
    file.write_text("one")
    with pytest.raises(OSError, match="full"), keep_older(file):
        raise OSError("full")
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"] and not caplog.text


def test_set_aside(tmp_path, caplog):
    set_aside(tmp_path / "none")
    (tmp_path / "a.png").write_text("one")
    set_aside(tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.1.png"] and "a.1.png" in caplog.text
