"""Data from ASE: labels by name, units converted, anything missing refused by frame."""

from __future__ import annotations

from dataclasses import replace

import ase.build
import ase.io
import ase.units
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator

from zoo.data import from_atoms, open_dataset, to_atoms
from zoo.errors import DataError, UnknownNameError, ZooError


def frames(n: int = 3) -> list[ase.Atoms]:
    made = []
    for k in range(n):
        atoms = ase.build.bulk("Si", cubic=True) if k % 2 else ase.build.molecule("H2O")
        atoms.info["E"] = -10.0 - k
        atoms.set_array("F", np.full((len(atoms), 3), 1.0 + k))
        made.append(atoms)
    return made


def test_energies_forces_and_stresses_are_converted():
    made = [ase.build.bulk("Si") for _ in range(2)]
    for atoms in made:
        atoms.info |= {"E": 2.0, "S": np.arange(6.0), "mu": 1.5}
        atoms.set_array("F", np.ones((2, 3)))
    store = from_atoms(
        made, properties={"energy": "E", "forces": "F", "stress": "S", "dipole": "mu"},
        units={"energy": "kcal/mol", "forces": "kcal mol^-1 Ang^-1", "stress": "GPa", "dipole": "Debye"},
    )
    assert store.units == {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å^3", "dipole": "D"}
    kcal = ase.units.kcal / ase.units.mol
    np.testing.assert_allclose(store.labels["energy"], [2 * kcal] * 2, rtol=1e-7)
    np.testing.assert_allclose(store.labels["forces"], np.full((4, 3), kcal), rtol=1e-7)
    voigt = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]]) * ase.units.GPa
    np.testing.assert_allclose(store.labels["stress"][1], voigt, rtol=1e-7)
    assert store.labels["dipole"].tolist() == [1.5, 1.5]
    assert store.per_atom == {"forces"}


def test_labels_are_found_in_a_calculator():
    atoms = ase.build.bulk("Cu")
    stress = np.arange(6) * 0.01
    atoms.calc = SinglePointCalculator(atoms, energy=-3.5, forces=[[0.1, 0, 0]], stress=stress)
    names = ("energy", "forces", "stress")
    store = from_atoms([atoms], properties={n: n for n in names},
                             units={"energy": "eV", "forces": "eV/Å", "stress": "eV/Å^3"})
    assert store.labels["stress"].shape == (1, 3, 3) and float(store.labels["stress"][0, 1, 2]) == 0.03
    assert store.labels["forces"].shape == (1, 3) and float(store.labels["energy"][0]) == -3.5


def test_a_missing_property_names_the_frame_and_what_it_has():
    made = frames()
    made[1].info = {"energy_dft": -11.0}
    with pytest.raises(DataError, match=r"frame 1 has no 'E' for the label 'energy'.*info: energy_dft; arrays: .*F"):
        from_atoms(made, properties={"energy": "E"}, units={"energy": "eV"})


def test_an_optional_label_is_nan_where_it_is_absent():
    made = frames()
    del made[1].arrays["F"]
    store = from_atoms(made, properties={"energy": "E", "forces": "F"}, optional=["forces"],
                             units={"energy": "eV", "forces": "eV/Å"})
    assert store.labels_of([1], ["forces"])["forces"].isnan().all()
    assert (store.labels_of([2], ["forces"])["forces"] == 3.0).all()


@pytest.mark.parametrize(("change", "message"), [
    (lambda f: f[2].info.update(E=float("nan")), "frame 2: 'E' is not finite"),
    (lambda f: f[2].info.update(E="low"), "frame 2: 'E' is 'low', not a number"),
    (lambda f: f[1].info.update(E=[1.0, 2.0]), r"frame 1: 'E' has shape \(2,\)"),
    (lambda f: f[0].positions.__setitem__((1, 2), np.inf), "frame 0: position of atom 1 is not finite"),
    (lambda f: f[1].translate(1e6), "frame 1 is 1,000,00. Å from the origin, where .* 0.06 Å apart"),
    (lambda f: f.insert(1, ase.Atoms()), "frame 1 has no atoms"),
    (lambda f: f.clear(), "no structures"),
])
def test_bad_frames_are_named(change, message):
    made = frames()
    change(made)
    with pytest.raises(DataError, match=message):
        from_atoms(made, properties={"energy": "E"}, units={"energy": "eV"})


@pytest.mark.parametrize(("key", "value", "message"), [
    ("charge", 1, "frame 1 has charge 1"), ("total_charge", -1.0, "frame 1 has charge -1"),
    ("spin", 2, "frame 1 has spin 2"), ("multiplicity", 3, "frame 1 has spin 2"),
])
def test_a_charge_or_a_spin_that_is_no_input_is_not_learned_in_silence(tmp_path, key, value, message):
    some = frames()
    some[1].info[key] = value
    ase.io.write(tmp_path / "ions.extxyz", some)
    opened = {"properties": {"energy": "E"}, "units": {"energy": "eV"}}
    with pytest.raises(DataError, match=rf"ions.extxyz: {message}"):
        open_dataset(tmp_path / "ions.extxyz", **opened)
    for atoms in some:
        atoms.info.setdefault("charge", 0)
        atoms.info.setdefault("spin", 0)
    if key in ("charge", "spin"):
        ase.io.write(tmp_path / "ions.extxyz", some)
        store = open_dataset(tmp_path / "ions.extxyz", **opened, inputs=[key])
        assert getattr(store, key).tolist() == [0, value, 0]


def test_a_unit_is_never_guessed():
    with pytest.raises(DataError, match="unit of 'energy' is not given"):
        from_atoms(frames(), properties={"energy": "E"}, units={})
    with pytest.raises(DataError, match="unknown unit 'furlong'"):
        from_atoms(frames(), properties={"energy": "E"}, units={"energy": "furlong"})


def test_a_missing_input_is_named():
    made = frames()
    made[0].info["charge"] = made[1].info["charge"] = 1
    with pytest.raises(DataError, match="frame 2 lacks the input 'charge'"):
        from_atoms(made, properties={"energy": "E"}, units={"energy": "eV"}, inputs=["charge"])


def test_structures_survive_the_way_through_a_store():
    made = frames()
    store = from_atoms(made, properties={"E": "E", "F": "F"}, units={"E": "eV", "F": "eV/Å"}, ids=[7, 3, 5])
    for row, atoms in enumerate(made):
        back = to_atoms(store, row)
        assert np.array_equal(back.positions, atoms.positions) and np.array_equal(back.numbers, atoms.numbers)
        assert np.array_equal(back.pbc, atoms.pbc) and np.array_equal(back.arrays["F"], atoms.arrays["F"])
        assert (back.info["E"], back.info["id"]) == (atoms.info["E"], [7, 3, 5][row])
        if atoms.pbc.any():
            assert np.array_equal(back.cell.array, atoms.cell.array)
    assert to_atoms(store, -1).info["id"] == 5
    with pytest.raises(IndexError):
        to_atoms(store, 3)
    assert not to_atoms(replace(store, pbc=None), 0).pbc.any()


def test_a_file_opens_with_its_properties_named(tmp_path):
    file = tmp_path / "set.extxyz"
    ase.io.write(file, frames())
    store = open_dataset(file, properties={"energy": "E", "forces": "F"}, units={"energy": "eV", "forces": "eV/Å"})
    assert store.labels["energy"].tolist() == [-10.0, -11.0, -12.0]
    with pytest.raises(DataError, match=r"which properties of .* are labels.*info: E; arrays: .*F"):
        open_dataset(str(file))
    with pytest.raises(DataError, match="unit of 'energy'"):
        open_dataset(file, properties={"energy": "E"})


@pytest.mark.parametrize("ending", ["xz", "gz", "bz2"])
def test_a_compressed_file_is_unpacked_once(tmp_path, ending, monkeypatch):
    file = tmp_path / f"set.extxyz.{ending}"
    ase.io.write(file, frames())
    real = ase.io.formats.open_with_compression

    def only_plain(name, mode="r"):
        assert not str(name).endswith(ending), "read while compressed"
        return real(name, mode)

    monkeypatch.setattr("ase.io.formats.open_with_compression", only_plain)
    store = open_dataset(file, properties={"energy": "E"}, units={"energy": "eV"})
    assert store.labels["energy"].tolist() == [-10.0, -11.0, -12.0]
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(DataError, match="cannot be read"):
        open_dataset(file, properties={"energy": "E"}, units={"energy": "eV"})


def test_what_cannot_be_opened_says_why(tmp_path):
    (tmp_path / "broken.xyz").write_text("3\n\nH 0 0 0\n")
    with pytest.raises(DataError, match=r"broken.xyz: cannot be read"):
        open_dataset(tmp_path / "broken.xyz", properties={"energy": "E"}, units={"energy": "eV"})
    with pytest.raises(DataError, match="no saved store"):
        open_dataset(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(tmp_path / "nowhere.xyz")
    with pytest.raises(UnknownNameError, match="nor is there a file or folder 'qm99'"):
        open_dataset("qm99")


def test_a_spec_is_opened_through_its_factory(tmp_path):
    from zoo.plugin import DatasetSpec

    sample = open_dataset(DatasetSpec(name="qm9-sample", factory="zoo.data.sample:open_sample"))
    assert len(sample) == 500
    sample.save(tmp_path / "saved")
    assert torch.equal(open_dataset(str(tmp_path / "saved")).ids, sample.ids)
    with pytest.raises(ZooError, match="no module named 'nowhere'"):
        open_dataset(DatasetSpec(name="x", factory="nowhere:open"))
    with pytest.raises(DataError, match="pathlib:PurePosixPath gave PurePosixPath, not a Store"):
        open_dataset(DatasetSpec(name="x", factory="pathlib:PurePosixPath"), path="here")
