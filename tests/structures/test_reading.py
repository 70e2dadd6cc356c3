"""Every structure of every format is read, or named with its reason; charges and occupancies are not passed over."""

from __future__ import annotations

import logging
import shutil

import ase.build
import ase.db
import ase.io
import numpy as np
import pytest

from zoo.errors import StructureError
from zoo.model.checks import Scope
from zoo.structures.formats import frames_of
from zoo.structures.inputs import to_graph
from zoo.structures.reading import read_structures
from zoo.structures.stated import check_statements, partial_occupancy, stated_charges

MOLECULES = [ase.build.molecule(name) for name in ("H2O", "CH4", "NH3")]
ATOM = "1\n\n{} 0 0 0\n"
MOL = ("w\n  test\n\n{n:3d}  0  0  0  0  0  0  0  0  0999 V2000\n    0.0000    0.0000    0.5000 O   0{code:3d}\n"
       "{more}M  END\n")
V3000 = ("x\n  t\n\n  0  0  0     0  0            999 V3000\nM  V30 BEGIN CTAB\nM  V30 COUNTS 2 0 0 0 0\n"
         "M  V30 BEGIN ATOM\nM  V30 1 O 0 0 0 0 -\nM  V30 CHG=-1\n"
         "M  V30 2 H 0 0 0.97 0\nM  V30 END ATOM\nM  V30 END CTAB\nM  END\n$$$$\n")
PDB = ("ATOM      1  O   MOL     1       0.000   0.000   0.119  {occupancy}  0.00           O{charge}\n"
       "ATOM      2  H   MOL     1       0.000   0.763  -0.477  1.00  0.00           H  \n")
CIF = ("data_x\n_cell_length_a 5.5\n_cell_length_b 5.5\n_cell_length_c 5.5\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
       "_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'P 1'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n"
       "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n{column}\n{atoms}\n")


def read(path, text=None):
    if text is not None:
        path.write_text(text)
    return list(frames_of(path))


def formulas(items):
    return [None if isinstance(item, StructureError) else item.get_chemical_formula() for item in items]


def mol(code=0, more="", n=1):
    return MOL.format(code=code, more=more, n=n)


# -- everything in the file ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("ending", ["xyz", "extxyz", "traj", "json", "db", "xyz.xz"])
def test_every_frame_of_a_name_with_an_at_sign(tmp_path, ending):
    plain, odd = tmp_path / f"plain.{ending}", tmp_path / f"run@300K@2.{ending}"
    ase.io.write(plain, MOLECULES)
    shutil.copy(plain, odd)
    assert formulas(read(odd)) == formulas(read(plain)) == ["H2O", "CH4", "H3N"]


def test_blank_lines_between_frames_end_nothing(tmp_path):
    atoms = ("H", "He", "Ne")
    assert formulas(read(tmp_path / "a.xyz", "\n\n".join(ATOM.format(symbol) for symbol in atoms))) == [*atoms]


def test_the_mark_of_utf_8_and_line_ends_of_windows_are_no_content(tmp_path):
    text = "2\nwater without one\nO 0 0 0\nH 0 0 0.97\n"
    (tmp_path / "a.xyz").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert formulas(read(tmp_path / "a.xyz")) == ["HO"]


def test_a_broken_frame_of_xyz_costs_only_itself(tmp_path):
    wrong = ["1\n\nD 0 0 0\n", "3\n\nO 0 0 0\nH 0 0 1\n", "1\n\nNe 0 0 0\nNe 0 0 2\n", "foo\n", "1\n\nH 0 0 x\n"]
    words = ["'D' is not the symbol of an element. Fix: write H", "announces 3 atoms, and 2 follow",
             "announces 1 atoms, and more follow", "where a number of atoms is expected", "line"]
    items = read(tmp_path / "a.xyz", "".join(part + ATOM.format("Ar") for part in wrong))
    assert formulas(items) == [None, "Ar"] * 5
    for item, word in zip(items[::2], words, strict=True):
        assert word in str(item) and "Fix:" in str(item)
    assert "structure 2 cannot" in str(items[2])


@pytest.mark.parametrize("end", ["$$$$\n", "", "$$$$\n\n"])
def test_every_molecule_of_an_sdf(tmp_path, end):
    items = read(tmp_path / "a.sdf", mol() + "$$$$\n" + mol(n=2) + "$$$$\n$$$$\nhello\n$$$$\n" + mol() + end)
    assert formulas(items) == ["O", None, None, None, "O"]
    for number, word in ((1, "announces 2 atoms"), (2, "is empty"), (3, "ends within its head")):
        assert f"structure {number} cannot be read: it {word}" in str(items[number])


def test_data_fields_and_coordinates_of_an_sdf(tmp_path):
    (atoms,) = read(tmp_path / "a.sdf", mol() + ">  <U0>\n-3.5\n\n> <name>\nwater\n\n$$$$\n")
    assert atoms.info == {"U0": -3.5, "name": "water"} and np.array_equal(atoms.positions, [[0, 0, 0.5]])


def test_a_drawing_in_the_plane_is_no_geometry(tmp_path):
    atoms = "    0.0000    0.0000    0.0000 C   0  0\n    1.0000    0.0000    0.0000 C   0  0\n"
    (item,) = read(tmp_path / "a.mol", "x\n     RDKit          2D\n\n  2  0  0  0  0  0  0  0  0  0999 V2000\n" + atoms)
    assert "drawing in the plane" in str(item)


def test_models_of_a_pdb_share_the_box_of_its_head(tmp_path):
    box = "CRYST1   20.000   21.000   22.000  90.00  90.00  90.00 P 1           1\n"
    model = PDB.format(occupancy="1.00", charge="")
    models = [f"MODEL        1\n{part}ENDMDL\n" for part in (model, model.replace("0.763", "  abc"), model)]
    first, second, third = read(tmp_path / "a.pdb", box + "".join(models) + "END\n")
    assert "Invalid or missing coordinate" in str(second)
    for atoms in (first, third):
        assert atoms.pbc.all() and np.allclose(atoms.cell.lengths(), [20, 21, 22])


def test_the_box_of_a_pdb_that_stands_for_none(tmp_path, caplog):
    box = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n"
    (atoms,) = read(tmp_path / "a.pdb", box + PDB.format(occupancy="1.00", charge="") + "END\n")
    assert not atoms.pbc.any() and atoms.cell.rank == 0
    assert "read as a molecule" in caplog.text


def test_the_ending_says_the_format(tmp_path):
    assert formulas(read(tmp_path / "POSCAR-relaxed.extxyz", ATOM.format("Ar"))) == ["Ar"]
    assert formulas(read(tmp_path / "OUTCAR.XYZ", ATOM.format("Ar"))) == ["Ar"]


def test_every_frame_of_a_gro(tmp_path):
    ase.io.write(tmp_path / "one.gro", MOLECULES[0])
    assert formulas(read(tmp_path / "two.gro", 2 * (tmp_path / "one.gro").read_text())) == ["H2O", "H2O"]


# -- unreadable, in words ------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "text", "words"), [
    ("label.xyz", "1\n\nO1 0 0 0\n", "'O1' is not the symbol of an element. Fix: write O"),
    ("number.xyz", "1\n\n8 0 0 0\n", "write the symbol of the element instead of its number"),
    ("x.txt", ATOM, "no file format is known by its name (.txt)"),
    ("x", "hello", "no file format is known"),
    ("e.xyz", "", "is empty"), ("x.cif", "hello\n", "does not follow its format"), ("x.db", "hello", "database"),
    ("x.traj", "hello", "cannot be read"), ("POSCAR", "hello\n", "cannot be read"),
])
def test_the_reason_is_in_words(tmp_path, name, text, words):
    (item,) = read(tmp_path / name, text)
    assert words in str(item) and "Fix:" in str(item) and str(item).startswith(str(tmp_path / name))


def test_files_of_one_name_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        ase.io.write(tmp_path / folder / "m.xyz", MOLECULES[0])
    labels = [r.label for r in read_structures([tmp_path / "a" / "m.xyz", tmp_path / "b" / "m.xyz", tmp_path])]
    assert labels == [str(tmp_path / "a" / "m.xyz"), str(tmp_path / "b" / "m.xyz"), tmp_path.name]


# -- charge --------------------------------------------------------------------------------------------------------

def charged(name, text, value=-1):
    return pytest.param(name, text, value, id=name)


@pytest.mark.parametrize(("name", "text", "value"), [
    charged("chg.sdf", mol(more="M  CHG  1   1  -1\n")), charged("old.mol", mol(code=5)),
    charged("replaced.mol", mol(code=5, more="M  CHG  1   1   2\n"), 2), charged("v3.sdf", V3000),
    charged("field.sdf", mol() + "> <PUBCHEM_TOTAL_CHARGE>\n-1\n\n$$$$\n"),
    charged("comment.xyz", "1\ncharge -1\nO 0 0 0\n"), charged("colon.xyz", "1\nCharge: -1\nO 0 0 0\n"),
    charged("equals.xyz", "1\ntotal_charge=-1\nO 0 0 0\n"), charged("text.xyz", '1\ncharge="1-"\nO 0 0 0\n'),
    charged("column.xyz", "1\nProperties=species:S:1:pos:R:3:charges:R:1\nO 0 0 0 -1\n"),
    charged("initial.xyz", "1\nProperties=species:S:1:pos:R:3:initial_charges:R:1\nO 0 0 0 -1\n"),
    charged("a.pdb", PDB.format(occupancy="1.00", charge="1-") + "END\n"),
    charged("a.gjf", "#p b3lyp\n\ntitle\n\n-1 1\nO 0.0 0.0 0.0\n\n"),
])
def test_charges_of_files(tmp_path, name, text, value):
    (atoms,) = read(tmp_path / name, text)
    assert {number for _, number in stated_charges(atoms)} == {value}
    with pytest.raises(StructureError, match=r"the structure has charge .* neutral closed-shell .* Fix: "):
        check_statements(atoms, (), "the structure")


@pytest.mark.parametrize("comment", ["charge 0", "charge=0 spin=0", "charge: 0", "multiplicity=1", "x"])
def test_neutral_comments_are_neutral(tmp_path, comment):
    (atoms,) = read(tmp_path / "a.xyz", f"1\n{comment}\nO 0 0 0\n")
    check_statements(atoms, (), "the structure")


@pytest.mark.parametrize("ending", ["db", "json"])
def test_charges_of_a_database(tmp_path, ending):
    with ase.db.connect(tmp_path / f"a.{ending}") as rows:
        rows.write(MOLECULES[0], charge=1, label=-3.0)
    (atoms,) = read(tmp_path / f"a.{ending}")
    assert atoms.info["label"] == -3.0 and stated_charges(atoms) == [("info['charge']", 1.0)]


def test_partial_charges_that_sum_to_nothing_are_neutral():
    water = MOLECULES[0].copy()
    water.set_initial_charges([-0.834, 0.417, 0.417])
    check_statements(water, (), "the structure")


def test_radicals_and_multiplicities(tmp_path):
    (radical,) = read(tmp_path / "a.mol", mol(more="M  RAD  1   1   2\n"))
    triplet = ase.Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], info={"multiplicity": 3})
    for atoms, unpaired in ((radical, 1), (triplet, 2)):
        with pytest.raises(StructureError, match=f"spin {unpaired} .*number of unpaired electrons.* multiplicity"):
            check_statements(atoms, (), "the structure")


def test_a_charge_that_a_model_reads_must_not_contradict_another():
    atoms = ase.Atoms("O", info={"charge": 0, "total_charge": -2})
    with pytest.raises(StructureError, match=r"charge 0 in .* and -2 in .*total_charge"):
        check_statements(atoms, ("charge",), "the structure")
    atoms.info["charge"] = -2
    check_statements(atoms, ("charge",), "the structure")


# -- occupancy -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("column", "atoms", "words"), [
    ("_atom_site_occupancy", "Si1 Si 0 0 0 0.6\nGe1 Ge 0 0 0 0.4", "0.6 Si, 0.4 Ge"),
    ("_atom_site_occupancy", "Si1 Si 0 0 0 0.5(1)", "0.5 Si"),
    ("_atom_site_occupancy", "Si1 Si 0 0 0 1.0", None),
    ("", "Si1 Si 0 0 0", None),
])
def test_occupancies_of_a_cif(tmp_path, column, atoms, words):
    (crystal,) = read(tmp_path / "a.cif", CIF.format(column=column, atoms=atoms))
    if words is None:
        check_statements(crystal, (), "the structure")
    else:
        with pytest.raises(StructureError, match=f"partial occupancies: .*{words}.*Fix:"):
            check_statements(crystal, (), "the structure")


def test_disorder_groups_of_a_cif(tmp_path):
    text = CIF.format(column="_atom_site_disorder_group", atoms="Si1 Si 0 0 0 1\nSi2 Si 0.1 0 0 2\nSi3 Si 0.5 0 0 .")
    plain = CIF.format(column="_atom_site_disorder_group", atoms="Si1 Si 0 0 0 .").replace("data_x", "data_y")
    items = read(tmp_path / "a.cif", text + plain)
    assert formulas(items) == [None, "Si"] and "groups 1, 2" in str(items[0])


@pytest.mark.parametrize(("occupancy", "partial"), [([1, 1, 0.5], True), ([1, 1, 1], False), ([0, 0, 0], False)])
def test_occupancies_of_atoms(occupancy, partial):
    water = MOLECULES[0].copy()
    water.set_array("occupancy", np.array(occupancy, dtype=float))
    assert (partial_occupancy(water) is not None) == partial


def test_alternative_positions_of_a_pdb(tmp_path):
    text = PDB.format(occupancy="0.50", charge="").replace(" O   MOL", " O  AMOL").replace(" H   MOL", " O  BMOL")
    (item,) = read(tmp_path / "a.pdb", text + "END\n")
    assert "alternative positions" in str(item)


def test_magnetic_moments_are_not_passed_over_in_silence(caplog):
    iron = ase.build.bulk("Fe", cubic=True)
    moments = "magnet reads no magnetic moments"
    with caplog.at_level(logging.WARNING, "zoo"):
        for values in ([0.0, 0.0], None, [2.2, -2.2], [2.2, 2.2]):
            iron.set_initial_magnetic_moments(values)
            iron.info["spin"] = 0
            to_graph(Scope("reader", (26,), ("spin",)), iron)
            to_graph(Scope("magnet", (26,)), iron)
            assert (moments in caplog.text) == (values is not None and any(values))
    assert caplog.text.count("magnetic moments") == 1
