"""Molecules from SMILES: what is refused and how, which isomer is taken, files of SMILES, several processes."""

from __future__ import annotations

import gzip
import os

import numpy as np
import pytest

from zoo.errors import StructureError
from zoo.structures.conformers import TimeLimit, conformers, mmff_minimum
from zoo.structures.embedding import embed_all
from zoo.structures.smiles import Species, embed, from_smiles
from zoo.structures.smiles_files import SmilesLine, read_smiles

pytest.importorskip("rdkit")

QM9 = Species("painn-qm9", (1, 6, 7, 8, 9))


@pytest.mark.parametrize(("smiles", "parts"), [
    ("", ["no SMILES"]),
    ("C(C", ["no SMILES that RDKit can parse."]),
    ("CN(C)(C)C", ["valence", "N, 4"]),
    ("c1cccc1", ["kekulize"]),
    ("CC>>CC", ["no SMILES"]),
    ("CC(=O)[O-].[Na+]", ["2 separate", "Fix: predict each alone", "neutral form (CC(=O)O)"]),
    ("CCN.Cl", ["2 separate", "(CCN, Cl)"]),
    ("[NH3+]C", ["charge +1", "(CN)"]),
    ("C[CH2]", ["1 unpaired electron", "spin"]),
    ("C[Si](C)C", ["Si", "outside the domain", "H, C, N, O, F"]),
    ("C*", ["open place"]),
    ("C\nC", ["several lines", "Fix: give a list"]),
    ("ClC1CC1" + "C" * 200, ["Cl", "…"]),
])
def test_what_is_no_molecule_of_the_model_costs_one_line(smiles, parts):
    with pytest.raises(StructureError) as caught:
        embed(smiles, species=QM9)
    text = str(caught.value)
    assert all(part in text for part in parts), text
    assert "Fix: " in text
    assert "\n" not in text
    assert len(text) < 320


def test_an_ion_and_a_radical_are_molecules_of_a_model_that_reads_them():
    both = Species("m", (1, 6, 7), ("charge", "spin"))
    assert embed("[NH4+]", species=both).atoms().info == {"charge": 1}
    assert embed("[CH3]", species=both).atoms().info == {"spin": 1}


def test_the_embeddings_of_one_molecule_differ():
    # RDKit multiplies the seed by the number of the embedding: seed 0 would give the same one ten times.
    found = embed("CCCCO")
    assert found.found == len(found.minima) > 3
    assert embed("CCCCO", keep=1).found == found.found
    energies = [one.energy for one in found.minima]
    assert energies == sorted(energies)
    with pytest.raises(StructureError, match="1 or more"):
        embed("CCO", seed=0)


def test_a_molecule_is_the_same_at_every_call():
    assert np.array_equal(from_smiles("CCO").positions, from_smiles("CCO").positions)


@pytest.mark.parametrize(("smiles", "places"), [("CC=CC", 1), ("CC(O)C(F)N", 2), ("C[C@H](O)C(F)N", 1), ("CC=N", 1)])
def test_open_stereochemistry_is_settled_and_named(smiles, places):
    found = embed(smiles)
    assert f"open at {places} place" in found.notes[0]
    assert found.smiles in found.notes[0]
    assert embed(smiles, count=1).notes  # one embedding shows one isomer only
    named = embed(found.smiles)  # giving the isomer that was named changes nothing
    assert not named.notes
    assert named.smiles == found.smiles
    assert [one.energy for one in named.minima] == [one.energy for one in found.minima]


@pytest.mark.parametrize("smiles", [
    "CC(N)O", "CCO", "C[C@H](O)N", "O", "[NH3+]CC(=O)[O-]", "CN1C[C@H]1C", "C1CN2CCC1CC2"])
def test_where_isomers_are_mirror_images_there_is_no_choice(smiles):
    assert not embed(smiles).notes


def test_the_isomer_that_is_taken_keeps_the_centres_that_are_given():
    for smiles in ("C[C@H](O)C(F)N", "C[C@@H](O)C(F)N"):
        taken = embed(smiles).smiles
        from rdkit import Chem

        assert Chem.MolFromSmiles(taken).HasSubstructMatch(Chem.MolFromSmiles(smiles), useChirality=True)


def test_what_mmff94_has_no_parameters_for_is_relaxed_with_uff():
    found = embed("[H][H]")
    assert "UFF" in found.notes[0]
    assert np.linalg.norm(np.diff(found.minima[0].positions, axis=0)) == pytest.approx(0.7, abs=0.1)


def test_isotopes_are_said():
    assert "isotopes" in embed("[2H]C").notes[0]


# -- files -------------------------------------------------------------------------------------------------------------


def test_lines_with_names_and_empty_lines(tmp_path):
    text = b"\xef\xbb\xbfSMILES id\r\nCCO ethanol, 96 %\r\n\r\nC\tmethane\r\n  N\r\n\xff\xfe\n\n \n"
    (tmp_path / "a.smi").write_bytes(text)
    lines = list(read_smiles(tmp_path / "a.smi"))
    assert lines[:4] == [SmilesLine("CCO", "ethanol, 96 %", 2), SmilesLine("", "", 3), SmilesLine("C", "methane", 4),
                         SmilesLine("N", "", 5)]
    assert [line.line for line in lines] == [2, 3, 4, 5, 6]


def test_a_table_in_its_usual_spellings(tmp_path):
    (tmp_path / "a.csv").write_text('Name;Canonical SMILES;x\n"one;\ntwo";CCO;1\n;;\nthree;C\n\n')
    assert list(read_smiles(tmp_path / "a.csv")) == [
        SmilesLine("CCO", "one;\ntwo", 2), SmilesLine("", "", 4), SmilesLine("C", "three", 5)]
    (tmp_path / "b.tsv").write_text("mol\tsmi\nx\tC\n")
    assert list(read_smiles(tmp_path / "b.tsv", "smi")) == [SmilesLine("C", "", 2)]
    with gzip.open(tmp_path / "c.csv.gz", "wt") as file:
        file.write("smiles\nCC\n")
    assert list(read_smiles(tmp_path / "c.csv.gz")) == [SmilesLine("CC", "", 2)]


@pytest.mark.parametrize(("name", "text"), [("a.smi", ""), ("b.smi", "\n  \n\n"), ("c.csv", "smiles,name\n"),
                                            ("d.smi", "SMILES name\n")])
def test_a_file_without_a_smiles_is_an_error_and_not_an_empty_table(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(StructureError, match=rf"{name} holds no SMILES\. Fix: "):
        list(read_smiles(tmp_path / name))


def test_a_pipe_is_refused_since_it_can_be_read_only_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.smi")
    with pytest.raises(StructureError, match=r"pipe\.smi is no regular file.*Fix: "):
        next(read_smiles(tmp_path / "pipe.smi"))


@pytest.mark.parametrize(("name", "text", "column", "parts"), [
    ("a.csv", "a,b\n1,2\n", None, ["no column 'smiles'", "a, b", "--smiles-column"]),
    ("a.csv", "smiles,b\n1,2\n", "smile", ["did you mean 'smiles'"]),
    ("a.csv", "CCO\nCC\n", None, ["one column", "write 'smiles' above"]),
    ("a.csv", "", None, ["no column"]),
    ("a.smi", "C\n", "x", ["no columns"]),
    ("a.csv", "smiles\nC\n" + "x" * 140_000 + "\n", None, ["line 3", "field"]),
    ("a.csv.gz", "smiles\nC\n", None, ["cannot be read"]),
])
def test_files_that_are_none_of_smiles(tmp_path, name, text, column, parts):
    (tmp_path / name).write_text(text)
    with pytest.raises(StructureError) as caught:
        list(read_smiles(tmp_path / name, column))
    assert all(part in str(caught.value) for part in [*parts, "Fix: "]), caught.value


def test_a_missing_file_of_smiles(tmp_path):
    with pytest.raises(StructureError, match="no such file"):
        list(read_smiles(tmp_path / "none.smi"))


# -- time --------------------------------------------------------------------------------------------------------------


def test_conformers_that_are_late_are_an_error_and_not_fewer():
    with pytest.raises(StructureError, match=r"take more than -1 s. Fix: ask for fewer"):
        conformers("CCO", limit=TimeLimit(-1))
    with pytest.raises(StructureError, match="take more than -1 s"):
        mmff_minimum(conformers("CCO", count=1)[0], limit=TimeLimit(-1))


@pytest.mark.slow
def test_a_molecule_that_rdkit_does_not_end_with_is_an_error_of_its_line(monkeypatch):
    monkeypatch.setattr("zoo.structures.smiles.TimeLimit", lambda: TimeLimit(2))
    lines = [SmilesLine("CCO", line=1), SmilesLine("C" * 300, line=2), SmilesLine("O", line=3)]
    first, late, last = (one.molecule for one in embed_all(lines, count=2))
    assert isinstance(late, StructureError)
    assert "conformers take" in str(late)
    assert first.found in (1, 2)
    assert last.found == 1


# -- processes ---------------------------------------------------------------------------------------------------------


def test_lines_are_embedded_lazily_and_keep_their_places():
    taken = []

    def lines():
        for number in range(1000):
            taken.append(number)
            yield SmilesLine("C(" if number == 1 else "C" * (1 + number % 3), line=number)

    made = embed_all(lines(), count=1)
    first = [next(made) for _ in range(3)]
    assert [one.line.line for one in first] == [0, 1, 2]
    assert isinstance(first[1].molecule, StructureError)
    assert len(taken) < 50


@pytest.mark.slow
def test_processes_change_nothing():
    lines = [SmilesLine("C" * (1 + k % 4) + "O", line=k) for k in range(40)]
    alone = list(embed_all(lines, count=2, processes=1))
    several = list(embed_all(lines, count=2, processes=2))
    assert [one.line for one in several] == lines
    for one, other in zip(alone, several):
        assert np.array_equal(one.molecule.minima[0].positions, other.molecule.minima[0].positions)
