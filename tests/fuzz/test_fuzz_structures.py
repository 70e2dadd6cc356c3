"""Any bytes as a file of structures, of every format: structures, or a StructureError with a fix for each."""

from __future__ import annotations

import warnings
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import StructureError
from zoo.structures.reading import read_structures

from .mutate import LONG, SMOKE, bounded, bytes_of, edits, slow

TEXT = {"xyz": "extxyz", "cif": "cif", "vasp": "vasp", "pdb": "proteindatabank", "gen": "gen", "xsf": "xsf",
        "cfg": "cfg", "json": "json", "gro": "gromacs", "cube": "cube", "res": "res"}
SDF = "ethane\n  zoo\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n    0.0 0.0 0.0 C   0  0\n    1.5 0.0 0.0 C   0  0\n" \
      "  1  2  1  0\nM  END\n$$$$\n"


def written(ending: str, folder: Path) -> bytes:
    """A small crystal in the format of an ending."""
    path = folder / f"whole.{ending}"
    if ending == "sdf":
        return SDF.encode()
    atoms = ase.build.bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ase.io.write(path, atoms, format=TEXT.get(ending, ending))
    return path.read_bytes()


def structures(data: bytes, folder: Path, ending: str) -> None:
    path = folder / f"file.{ending}"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # readers of ASE warn of what they guess
        found = list(read_structures([path]))
    assert found
    for one in found:
        if one.error is not None:
            assert isinstance(one.error, StructureError) and "Fix: " in str(one.error)
        else:
            assert one.atoms is not None and one.atoms.positions.dtype == np.float64


def variants(data: bytes) -> st.SearchStrategy[bytes]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return bytes_of(data)
    return edits(text).map(lambda changed: changed.encode("utf-8", "surrogatepass")) | bytes_of(data)


@pytest.mark.parametrize("ending", ["xyz", "vasp", "sdf", "cif"])
def test_some_structures(tmp_path: Path, ending: str) -> None:
    @SMOKE
    @given(variants(written(ending, tmp_path)))
    def smoke(data: bytes) -> None:
        structures(data, tmp_path, ending)

    smoke()


@slow
@pytest.mark.parametrize("ending", [*TEXT, "sdf", "traj"])
def test_many_structures(tmp_path: Path, ending: str) -> None:
    @LONG
    @given(variants(written(ending, tmp_path)))
    @bounded
    def long(data: bytes) -> None:
        structures(data, tmp_path, ending)

    long()
