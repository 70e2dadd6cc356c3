"""The commands and programs of the guides, run in an empty folder with small data.

A block runs as it is unless a comment above it says otherwise: `<!-- test: skip because REASON -->`, or
`<!-- test: with ARGUMENTS -->`, which are added to each of its commands.
"""

from __future__ import annotations

import re
import shlex
from glob import glob
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from zoo.cli import main

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(?:<!-- test: (skip because|with) (.+?) -->\n)?```(sh|bash|python)\n(.*?)```", flags=re.S)
GUIDES = {path.stem: BLOCK.findall(path.read_text()) for path in sorted((ROOT / "docs" / "guides").glob("*.md"))}
RUN = [name for name, blocks in GUIDES.items() if any(kind != "skip because" for kind, *_ in blocks)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What the guides suppose: the examples of the source tree and a labelled file."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(12):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.03, rng=rng)
        energy, forces = rng.normal(), rng.normal(size=(9, 3))
        atoms.info["E"], atoms.arrays["F"] = energy, forces
        frames.append(atoms)
    ase.io.write(tmp_path / "my.extxyz", frames)
    start = molecule("CH3CH2OH")
    start.calc = SinglePointCalculator(start, energy=0.0)
    ase.io.write(tmp_path / "molecule.xyz", start)
    ase.io.write(tmp_path / "start.xyz", start)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", RUN)
def test_what_a_guide_shows_runs(name, folder):
    namespace: dict = {"atoms": molecule("CH3CH2OH")}
    for kind, text, language, body in GUIDES[name]:
        if kind == "skip because":
            continue
        if language == "python":
            exec(compile(body, f"docs/guides/{name}.md", "exec"), namespace)
            continue
        for line in body.splitlines():
            words = shlex.split(line, comments=True)
            if words:
                assert words[0] == "zoo", line
                paths = [path for word in words[1:] for path in (sorted(glob(word)) if "*" in word else [word])]
                run(paths + (shlex.split(text) if kind == "with" else []))


def run(arguments: list[str]) -> None:
    """A command in this process; it must end well."""
    try:
        main(arguments)
    except SystemExit as end:
        assert end.code in (0, None), arguments
