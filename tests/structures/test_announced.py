"""A file that announces more atoms than it has bytes is refused before a reader takes memory for them."""

from __future__ import annotations

from pathlib import Path

import ase.build
import ase.io
import pytest

from zoo.errors import StructureError
from zoo.structures.announced import check_announced

MANY = 1_000_000_000
FILES = {
    "vasp": f"x\n1.0\n5 0 0\n0 5 0\n0 0 5\nH C\n1 {MANY}\nDirect\n0 0 0\n",
    "gen": f"{MANY} C\n H\n1 1 0 0 0\n",
    "cfg": f"Number of particles = {MANY}\nA = 1.0 Angstrom\n",
    "xsf": f"CRYSTAL\nPRIMVEC\n5 0 0\n0 5 0\n0 0 5\nPRIMCOORD\n{MANY} 1\n1 0 0 0\n",
    "cube": f"a\nb\n-{MANY} 0 0 0\n2 1 0 0\n2 0 1 0\n2 0 0 1\n1 1 0 0 0\n",
    "lammps-dump-text": f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n{MANY}\nITEM: BOX BOUNDS pp pp pp\n",
    "json": '{"1": {"positions": {"__ndarray__": [[1000000000, 3], "float64", [0]]}}, "ids": [1]}',
}


@pytest.mark.parametrize("format", FILES)
def test_a_thousand_million_atoms_are_refused(tmp_path: Path, format: str) -> None:
    path = tmp_path / "file"
    path.write_text(FILES[format])
    with pytest.raises(StructureError, match=r"it announces [\d,]+ atoms or numbers and has \d+ bytes\. Fix: "):
        check_announced(path, format)


def test_numbers_too_long_for_python_and_grids_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for format, text in [("gen", "1" * 5000 + " C\n\n"), ("cube", "a\nb\n1 0 0 0\n9999 1 0 0\n9999 0 1 0\n99 0 0 1\n")]:
        path.write_text(text)
        with pytest.raises(StructureError, match="announces"):
            check_announced(path, format)


@pytest.mark.parametrize("format", [name for name in FILES if name != "lammps-dump-text"])
def test_what_ase_writes_passes(tmp_path: Path, format: str) -> None:
    atoms = ase.build.bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (2, 2, 2)
    path = tmp_path / "file"
    ase.io.write(path, atoms, format=format)
    check_announced(path, format)


def test_other_formats_and_binary_noise_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 50)
    for format in [*FILES, "cif", "traj"]:
        check_announced(path, format)
