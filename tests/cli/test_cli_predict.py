"""`zoo predict` as a person uses it: files of all kinds, one of them broken."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest

from zoo.cli import main
from zoo.structures.reading import read_structures

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.xyz"))


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["predict", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_the_examples_are_test_molecules_with_all_twelve_references():
    from zoo.data.splits import qm9_ids

    held_out = set(qm9_ids("test"))
    assert len(EXAMPLES) == 6
    for path in EXAMPLES:
        atoms = ase.io.read(path)
        assert int(atoms.info["source"].split("gdb ")[1].split(",")[0]) in held_out
        assert {"mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv"} <= atoms.info.keys()


def test_a_table_beside_the_references(run_zoo):
    done = run_zoo("predict", "painn-qm9", *map(str, EXAMPLES))
    assert done.returncode == 0, done.stderr
    for part in ("acetamide.xyz", "C2H5NO", "ref -5,691.5146", "mean absolute error"):
        assert part in done.stdout
    assert "B3LYP" in done.stderr


def test_errors_against_the_references_are_what_the_card_says(capsys):
    """Half of them within three times the measured error; a wrong unit or reference would be off by much more."""
    import zoo

    card = zoo.show("painn-qm9")
    measured = {m.target: m.value * (1e-3 if m.unit == "meV" else 1) for m in card.metrics if m.metric == "mae"}
    _, out, _ = run(capsys, "painn-qm9", *EXAMPLES, "--json")
    results = json.loads(out)["results"]
    for target, bound in measured.items():
        errors = [abs(r["values"][target] - r["reference"][target]) for r in results]
        assert np.median(errors) < 3 * bound, target


def test_csv_has_a_row_a_structure_and_units_in_its_head(capsys):
    _, out, _ = run(capsys, "painn-qm9", *EXAMPLES, "--csv")
    rows = list(csv.reader(io.StringIO(out)))
    assert len(rows) == 7
    assert "U0 [eV]" in rows[0]
    assert float(rows[1][rows[0].index("U0 [eV]")]) < -1000


def test_energy_and_forces_that_ase_reads_are_compared_and_kept(tmp_path, capsys):
    from ase.calculators.singlepoint import SinglePointCalculator

    frames = [ase.build.molecule("CH3CH2OH") for _ in range(2)]
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-4210.0, forces=np.full((9, 3), 0.25))
    ase.io.write(tmp_path / "my@2.extxyz", frames)
    ask = ("painn-ethanol", tmp_path / "my@2.extxyz", "--forces", "-o", tmp_path / "out.extxyz", "-q")
    _, out, _ = run(capsys, *ask, "--json")
    first = json.loads(out)["results"][0]
    assert first["reference"] == {"energy": -4210.0, "forces": [[0.25] * 3] * 9}
    back = ase.io.read(tmp_path / "out.extxyz")
    assert back.get_potential_energy() == back.info["reference_energy"] == -4210.0
    assert back.info["predicted_energy"] == pytest.approx(first["values"]["energy"], rel=1e-7)
    for forces in (back.get_forces(), back.arrays["reference_forces"]):
        np.testing.assert_allclose(forces, 0.25)
    assert back.arrays["predicted_forces"].shape == (9, 3)
    _, out, _ = run(capsys, *ask)
    errors = np.abs(np.array(first["values"]["forces"]) - 0.25)
    assert any("forces" in line and f"{errors.mean():.4g}" in line for line in out.splitlines())


def test_a_broken_file_in_the_middle_costs_only_itself(tmp_path, capsys):
    good = [ase.build.molecule(n) for n in ("CH4", "H2O", "NH3")]
    ase.io.write(tmp_path / "a.xyz", good)
    (tmp_path / "b.xyz").write_text("3\n\nO 0 0 0\nH 0 0 what\nH 1 0 0\n")
    ase.io.write(tmp_path / "c.xyz", ase.build.molecule("SiH4"))
    ase.io.write(tmp_path / "d.cif", ase.build.bulk("C"))
    ase.io.write(tmp_path / "f.xyz", ase.build.molecule("C2H6"))
    files = [*sorted(tmp_path.glob("[a-f].*")), tmp_path / "missing.xyz"]
    code, out, err = run(capsys, "painn-qm9", *files, "--json", "--output", tmp_path / "out.extxyz")
    assert code == 2
    results = json.loads(out)["results"]
    assert [("error" in r) for r in results] == [False, False, False, True, True, True, False, True]
    reasons = {"b.xyz": "cannot be read", "c.xyz": "Si", "d.cif": "periodic", "missing": "no such file"}
    for name, message in reasons.items():
        assert any(name in line and message in line for line in err.splitlines()), name
    assert "4 of 8 structures failed" in err
    written = ase.io.read(tmp_path / "out.extxyz", index=":")
    assert [a.get_chemical_formula() for a in written] == ["CH4", "H2O", "H3N", "C2H6"]
    assert written[0].info["predicted_U0"] == pytest.approx(results[0]["values"]["U0"], rel=1e-7)


def test_frames_around_a_broken_one_are_kept(tmp_path):
    frame = "1\n\nH 0 0 0\n"
    (tmp_path / "long.xyz").write_text(frame + frame + "1\n\nH zero 0 0\n" + frame)
    reads = list(read_structures([tmp_path / "long.xyz"]))
    assert [r.error is None for r in reads] == [True, True, False, True]
    assert "structure 2 cannot be read" in str(reads[2].error)


def test_smiles_is_a_conformer_and_says_so(capsys):
    pytest.importorskip("rdkit")
    code, out, err = run(capsys, "painn-qm9", "--smiles", "CCO", "--json")
    assert code == 0
    assert json.loads(out)["results"][0]["formula"] == "C2H6O"
    assert "RDKit" in err


def test_a_word_that_is_a_file_is_no_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ase.io.write("methane.xyz", ase.build.molecule("CH4"))
    code, out, err = run(capsys, "methane.xyz", "--json")
    assert code == 0
    assert "model: painn-qm9-anygeo, the default for molecules" in err
    assert json.loads(out)["model"] == "painn-qm9-anygeo"
    named = [json.loads(run(capsys, *words, "--json")[1]) for words in (
        ["schnet-qm9", "methane.xyz"], ["methane.xyz", "--model", "schnet-qm9"], ["-m", "schnet", "methane.xyz"])]
    assert [one["model"] for one in named] == ["schnet-qm9"] * 3
    assert named[0] == named[1] == named[2]


def test_periodic_structures_have_a_default_of_their_own(tmp_path, monkeypatch, capsys):
    from zoo.registry import default_models

    monkeypatch.setattr(default_models, "CRYSTALS", ("not-yet",))
    ase.io.write(tmp_path / "si.cif", ase.build.bulk("Si"))
    code, _, err = run(capsys, tmp_path / "si.cif")
    assert code == 2
    assert "no default model for periodic structures. Fix: " in err
    monkeypatch.setattr(default_models, "CRYSTALS", ("not-yet", "painn-si"))
    code, out, _ = run(capsys, tmp_path / "si.cif", "--json")
    assert code == 0
    assert json.loads(out)["model"] == "painn-si"


LINES = """CCO ethanol
CC(=O)Oc1ccccc1C(=O)O aspirin

C(C broken
CC(=O)[O-].[Na+]
CCCl
CC(O)C(F)N open
"""


@pytest.fixture
def molecules(tmp_path, monkeypatch):
    pytest.importorskip("rdkit")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.smi").write_text(LINES)


def test_a_file_of_smiles_keeps_failures_apart(molecules, capsys):
    code, out, err = run(capsys, "--smiles-file", "m.smi", "--csv", "--output", "results.sdf", "--conformers", 3)
    assert code == 2
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["line"] for row in rows] == ["1", "2", "3", "4", "5", "6", "7"]
    assert [bool(row["error"]) for row in rows] == [False, False, True, True, True, True, False]
    assert "13 heavy atoms" in rows[1]["outside"]
    assert rows[6]["smiles"] in rows[6]["note"]
    for part in ("line 3", "line 4 (broken): 'C(C' is no SMILES", "2 separate molecules", "'CCCl' has Cl",
                 "warning: line 2 (aspirin) is outside", "warning: line 7 (open): the SMILES leaves",
                 "4 of 7 structures failed, listed in results.failed.csv", "wrote 3 structures"):
        assert part in err
    failed = list(csv.DictReader(io.StringIO(Path("results.failed.csv").read_text())))
    assert [row["line"] for row in failed] == ["3", "4", "5", "6"]
    assert all("Fix: " in row["error"] for row in failed)
    from rdkit import Chem

    molecules = list(Chem.SDMolSupplier("results.sdf", removeHs=False))
    assert [one.GetProp("_Name") for one in molecules] == ["ethanol", "aspirin", "open"]
    assert float(molecules[0].GetProp("U0 [eV]")) == float(rows[0]["U0 [eV]"])
    assert molecules[1].GetNumAtoms() == 21
    assert molecules[1].GetConformer().Is3D()


def test_every_output_holds_the_same_numbers(molecules, capsys):
    smiles = ["--smiles", "CCO", "--smiles", "O=C1CC1", "--smiles", "C(", "--conformers", 2]
    data = json.loads(run(capsys, *smiles, "--json")[1])["results"]
    assert [one.get("smiles") for one in data] == ["CCO", "O=C1CC1", "C("]
    for name in ("r.csv", "r.json", "r.extxyz"):
        code, out, _ = run(capsys, *smiles, "--output", name)
        assert code == 2
        assert "± holds 90%" in out
    assert json.loads(Path("r.json").read_text())["results"] == data
    rows = list(csv.DictReader(io.StringIO(Path("r.csv").read_text())))
    assert [row["U0 [eV]"] for row in rows[:2]] == [repr(one["values"]["U0"]) for one in data[:2]]
    assert "no SMILES" in rows[2]["error"]
    frames = ase.io.read("r.extxyz", index=":")
    assert [frame.info["predicted_gap"] for frame in frames] == pytest.approx([r["values"]["gap"] for r in data[:2]])
    assert frames[0].info["smiles"] == "CCO"


def test_a_picture_of_the_molecules(molecules, capsys):
    assert run(capsys, "--smiles", "CCO", "--image", "one.png", "--conformers", 1)[0] == 0
    assert Path("one.png").read_bytes().startswith(b"\x89PNG")
    assert run(capsys, "painn-qm9", EXAMPLES[0], "--image", "two.svg")[0] == 0
    assert "<svg" in Path("two.svg").read_text()
    code, _, err = run(capsys, "--smiles", "CCO", "--image", "one.gif")
    assert code == 2
    assert ".png or .svg" in err


@pytest.mark.parametrize(("smiles", "message"), [("C(C", "no SMILES"), ("[NH4+]", "charge"), ("C[CH2]", "spin")])
def test_smiles_that_cannot_be(capsys, smiles, message):
    pytest.importorskip("rdkit")
    code, _, err = run(capsys, "painn-qm9", "--smiles", smiles)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(("arguments", "message"), [
    (["painn-qm9"], "nothing to predict"),
    (["pain-qm9", "x.xyz"], "painn-qm9"),
    (["painn-qm9", "x.xyz", "--json", "--csv"], "exclude"),
    (["painn-qm9", "x.xyz", "--dtype", "float16"], "float32 or float64"),
    (["missing.xyz"], "'missing.xyz' is neither a file nor a model"),
    (["missing.xyz", "x.xyz"], "'missing.xyz' is neither a file nor a model"),
    (["--smiles-file", "none.smi"], "no such file"),
    (["--smiles", "CCO", "--average", "best"], "lowest, boltzmann, mean"),
    (["--smiles", "CCO", "--conformers", "0"], "1 or more"),
    (["--smiles", "CCO", "--average", "mean", "--forces"], "no average"),
    (["--smiles", "CCO", "--smiles-column", "x"], "--smiles-file"),
])
def test_what_is_asked_wrongly_is_said(capsys, arguments, message):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_flagged_structure_is_shown_to_the_model_that_takes_other_geometries(tmp_path, monkeypatch, capsys):
    from zoo.registry import default_models

    ase.io.write(tmp_path / "water.xyz", ase.build.molecule("H2O"))  # smaller than all of QM9's training molecules
    ase.io.write(tmp_path / "benzene.xyz", ase.build.molecule("C6H6"))
    for registered, file, said in (("schnet-qm9", "water.xyz", True), ("schnet-qm9", "benzene.xyz", False),
                                   ("not-yet", "water.xyz", False)):
        monkeypatch.setattr(default_models, "MOLECULES", (registered, "painn-qm9"))
        code, _, err = run(capsys, "-m", "painn-qm9", tmp_path / file)
        assert code == 0
        assert (f"{registered} takes geometries of force fields" in err) == said
