"""What the README prints is what its programs print, and its plugin is one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from ase.build import molecule

import zoo
from zoo.cli import main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"(<!-- test: with the universal potential -->\n)?```python\n([^`]*?)```\n\n```text\n(.*?)```",
                   README, flags=re.S)
MODULES = dict(re.findall(r"```python\n# (zoo_mynet/\w+\.py)[^\n]*\n(.*?)```", README, flags=re.S))
CHECKED = re.search(r"```bash\nzoo (check mynet .*)\n```\n\n```text\n(.*)\n```", README)
FILES = os.environ.get("ZOO_TEST_NEQUIX")
NUMBER = r"-?\d+\.\d+"


def printed_as_shown(printed: str, shown: str) -> None:
    """The same words, and the same numbers but for one in the last digit, which differs between processors."""
    assert re.sub(NUMBER, "#", printed).split() == re.sub(NUMBER, "#", shown).split()
    for found, expected in zip(re.findall(NUMBER, printed), re.findall(NUMBER, shown)):
        assert abs(float(found) - float(expected)) < 1.01 * 10 ** -len(expected.partition(".")[2])


def test_a_wrong_number_and_a_wrong_word_are_seen():
    printed_as_shown("gap 9.30 ± 0.31", "gap 9.29 ± 0.31")
    for other in ("gap 9.32 ± 0.31", "gap 9.29 ± 0.31 eV"):
        with pytest.raises(AssertionError):
            printed_as_shown(other, "gap 9.29 ± 0.31")


def test_properties_from_smiles_are_those_shown(capsys):
    pytest.importorskip("rdkit", reason="needs the smiles extra")
    ((_, program, shown),) = (found for found in SHOWN if not found[0])
    exec(compile(program, "README.md", "exec"), {})
    printed_as_shown(capsys.readouterr().out, shown)


@pytest.mark.slow
@pytest.mark.skipif(FILES is None, reason="ZOO_TEST_NEQUIX names no folder with .nqx files")
def test_the_crystal_relaxes_to_what_is_shown(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    zoo.pull("universal", file=Path(FILES or "") / "nequix-oam-1.nqx")
    ((_, program, shown),) = (found for found in SHOWN if found[0])
    capsys.readouterr()
    exec(compile(program, "README.md", "exec"), {})
    printed_as_shown(capsys.readouterr().out, shown)


@pytest.mark.slow
def test_the_plugin_conforms(yard, capsys):
    assert CHECKED is not None and len(MODULES) == 2
    yard.install("zoo-mynet", MODULES, entry={"mynet": "zoo_mynet"})
    with pytest.raises(SystemExit) as end:
        main(CHECKED[1].split())
    assert end.value.code in (0, None)
    assert CHECKED[2] in capsys.readouterr().out


def test_the_plugin_is_an_architecture(yard):
    yard.install("zoo-mynet", MODULES, entry={"mynet": "zoo_mynet"})
    found = zoo.create("mynet").predict(molecule("H2O"), derivatives=["forces"])
    assert abs(found["forces"].sum(0)).max() < 1e-5 < abs(found["forces"]).max()


def test_the_first_screen_is_short():
    assert README.index("## Which model for what") < 4500
