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
from zoo.structures.reading import from_smiles, read_structures

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
    assert np.array_equal(from_smiles("CCO").positions, from_smiles("CCO").positions)


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
])
def test_what_is_asked_wrongly_is_said(capsys, arguments, message):
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
