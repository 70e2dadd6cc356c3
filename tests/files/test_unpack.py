"""Compressed files of structures: a bomb is refused early, damage is named."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import pytest

from zoo.errors import DataError
from zoo.files import unpack
from zoo.files.unpack import unpacked

PACK = {"xz": lzma.compress, "gz": gzip.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_refused_before_it_has_unpacked(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "ALWAYS", 1_000_000)
    path = tmp_path / f"a.xyz.{kind}"
    path.write_bytes(PACK[kind](bytes(12_000_000)))
    with pytest.raises(DataError, match=r"bytes unpack to more than [\d,]+; .*Fix: unpack the file yourself"), \
            unpacked(path):
        pass


@pytest.mark.parametrize("kind", PACK)
def test_what_is_whole_is_unpacked_and_damage_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.xyz.{kind}"
    data = bytes(range(256)) * 9000
    path.write_bytes(PACK[kind](data))
    with unpacked(path) as plain:
        assert plain.read_bytes() == data and plain.name == "a.xyz"
    for wrong in (path.read_bytes()[:-9], b"no such format", path.read_bytes()[:40] + b"x" * 100):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match=r"cannot be unpacked: .*Fix: get the file again"), unpacked(path):
            pass
