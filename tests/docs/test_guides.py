"""The commands and programs of the guides, run in an empty folder with small data.

A block runs as it is unless comments above it say otherwise: `<!-- test: skip because REASON -->`,
`<!-- test: with ARGUMENTS -->`, which are added to each of its commands, `<!-- test: replacing TEXT by TEXT; … -->`,
which makes it smaller, and `<!-- test: slow -->`, which leaves it to `make test-all`.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from glob import glob
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

import zoo
from zoo.cli import main

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"((?:<!-- test: .+? -->\n)*)```(sh|bash|python)\n(.*?)```", flags=re.S)
NOTE = re.compile(r"<!-- test: (skip because|with|replacing|slow) ?(.*?) -->")


class Snippet(NamedTuple):
    """A fenced block of a guide and the comments above it."""

    notes: dict[str, str]
    language: str
    text: str

    def reduced(self) -> str:
        """The text after the replacements of its comment; each has to be in it."""
        text = self.text
        for pair in filter(None, self.notes.get("replacing", "").split("; ")):
            old, new = pair.split(" by ")
            assert old in text, f"{old} is not in the block:\n{text}"
            text = text.replace(old, new)
        return text


GUIDES = {
    path.stem: [Snippet(dict(NOTE.findall(notes)), *rest) for notes, *rest in BLOCK.findall(path.read_text())]
    for path in sorted((ROOT / "docs" / "guides").glob("*.md"))
}
GUIDES = {name: [block for block in blocks if "skip because" not in block.notes] for name, blocks in GUIDES.items()}
QUICK = [name for name, blocks in GUIDES.items() if any("slow" not in block.notes for block in blocks)]
SLOW = [name for name, blocks in GUIDES.items() if any("slow" in block.notes for block in blocks)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What the guides suppose: files of the source tree, structures and labelled frames."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    for name in ("examples", "cards"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "sample").symlink_to(str(files("zoo.data").joinpath("samples", "qm9")))
    rng = np.random.default_rng(0)
    frames, own = [], []
    for _ in range(12):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.03, rng=rng)
        energy, forces = rng.normal(), rng.normal(size=(9, 3))
        atoms.info["E"], atoms.arrays["F"] = energy, forces
        own.append(atoms.copy())
        own[-1].calc = SinglePointCalculator(own[-1], energy=energy, forces=forces)
        frames.append(atoms)
    ase.io.write(tmp_path / "my.extxyz", frames)
    ase.io.write(tmp_path / "own.extxyz", own)
    start = molecule("CH3CH2OH")
    start.calc = SinglePointCalculator(start, energy=0.0)
    ase.io.write(tmp_path / "molecule.xyz", start)
    for name in ("start.xyz", "molecules.xyz", "structure.xyz"):
        ase.io.write(tmp_path / name, start)
    (tmp_path / "molecules.smi").write_text("CCO ethanol\nC1CC1 cyclopropane\n")
    (tmp_path / "molecules.csv").write_text("name,structure\nethanol,CCO\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", QUICK)
def test_what_a_guide_shows_runs(name, folder):
    run([block for block in GUIDES[name] if "slow" not in block.notes])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_all_that_a_guide_shows_runs(name, folder):
    run(GUIDES[name])


def run(blocks: list[Snippet]) -> None:
    namespace: dict = {"atoms": molecule("CH3CH2OH"), "zoo": zoo}
    namespace |= dict.fromkeys(("a", "b", "c", "reactant"), namespace["atoms"])
    namespace["product"] = namespace["atoms"].copy()
    namespace["product"].rattle(0.05, seed=0)
    for block in blocks:
        if block.language == "python":
            exec(compile(block.reduced(), "a guide", "exec"), namespace)
            continue
        for line in block.reduced().splitlines():
            words = shlex.split(line, comments=True)
            if words:
                if words[0] == "python":
                    subprocess.run([sys.executable, *words[1:]], check=True)
                    continue
                assert words[0] == "zoo", line
                paths = [path for word in words[1:] for path in (sorted(glob(word)) if "*" in word else [word])]
                command(paths + shlex.split(block.notes.get("with", "")))


def command(arguments: list[str]) -> None:
    """A command in this process; it must end well."""
    try:
        main(arguments)
    except SystemExit as end:
        assert end.code in (0, None), arguments
