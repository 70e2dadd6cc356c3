"""What a notebook shows of models, cards, lists of names, predictions and structures."""

from __future__ import annotations

import copy
import pickle
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from toy import toy_model

import zoo
from zoo.cards.card import Card
from zoo.errors import MissingExtraError, StructureError
from zoo.inference.results import Prediction, Predictions
from zoo.structures.turning import has_viewer, turning_view

HOSTILE = "<script>alert(1)</script>"
CARD = {"schema": 1, "name": "one", "summary": HOSTILE, "architecture": "painn", "limits": f"& {HOSTILE}",
        "targets": {"U0": {"readout": "energy", "unit": "eV"}}, "derivatives": ["forces"],
        "domain": {"elements": ["H", "C"], "reach": HOSTILE},
        "metrics": [{"split": "test", "target": "U0", "metric": "mae", "value": 12.345, "unit": "meV", "n": 3,
                     "by": HOSTILE, "date": "2026-12-01"}]}


class Cells(HTMLParser):
    """The rows of all tables, and whether every element that opens is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag != "script"
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_a_card_is_a_table_of_its_errors_and_no_markup():
    rows = Cells(Card.from_dict(CARD)._repr_html_()).rows
    assert ["U0", "eV", "12.35 meV", "–"] in rows and ["forces", "eV/Å", "–", "–"] in rows
    assert ["elements", "H C"] in rows and ["valid for", HOSTILE] in rows


def test_a_model_says_where_it_is_and_what_its_card_says():
    model = toy_model("energy")
    assert ["energy", "eV"] in Cells(model._repr_html_()).rows
    model.card = Card.from_dict(CARD)
    rows = Cells(model._repr_html_()).rows
    assert ["loaded", f"{model.num_parameters:,} parameters, torch.float64 on cpu"] in rows
    assert ["architecture", "painn"] in rows


def test_names_of_models_are_a_list_and_a_table_best_first():
    names = zoo.list_models("acac")
    assert isinstance(names, list) and names == sorted(names)
    rows = Cells(names._repr_html_()).rows
    assert [row[0] for row in rows[1:3]] == ["nequip-acac", "painn-acac"] and rows[1][1] == "one system"
    names.append("no-such-model")
    assert Cells(names._repr_html_()).rows[-1] == ["no-such-model", "its card cannot be read: zoo show says why"]


def test_predictions_are_dicts_that_show_their_units():
    model = toy_model("energy", "dipole")
    one = model.predict(molecule("H2O"), derivatives=["forces"])
    assert type(one) is Prediction 
    for twin in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert twin.units == one.units and twin["energy"] == one["energy"]
    rows = Cells(one._repr_html_()).rows
    assert ["energy", f"{one['energy']:,.4f}", "", "eV"] in rows
    assert ["forces", "array of shape (3, 3)", "", ""] in rows
    many = model.predict([molecule("H2O"), Atoms("Au")], on_error="keep")
    rows = Cells(many._repr_html_()).rows
    assert isinstance(many, list) and rows[0] == ["", "energy / eV", "dipole / D"]
    assert rows[1][0] == "0" and "Au" in rows[2][1]


def test_intervals_reasons_and_what_is_left_out_are_shown():
    one = Prediction({"gap": 1.23456, "uncertainty": {"gap": 0.25}, "outside": [HOSTILE], "notes": ["a note"]},
                     {"gap": "eV"})
    html = one._repr_html_()
    assert ["gap", "1.2346", "0.25", "eV"] in Cells(html).rows
    assert "&lt;script&gt;alert(1)&lt;/script&gt;; a note" in html
    many = Predictions([one] * 60, one.units)
    assert ["0", "1.2346 ± 0.25"] in Cells(many._repr_html_()).rows
    assert len(Cells(many._repr_html_()).rows) == 51 and "10 more are not shown" in many._repr_html_()


class Recorded:
    """Stands for ``py3Dmol.view`` and keeps what it is told."""

    def __init__(self, **options):
        self.calls: list[tuple] = []

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))


@pytest.fixture
def viewer(monkeypatch):
    class Stand:
        view = Recorded
        __spec__ = object()

    monkeypatch.setitem(sys.modules, "py3Dmol", Stand)


def test_a_molecule_a_crystal_and_a_trajectory_turn(viewer):
    water = molecule("H2O")
    water.info["comment"] = HOSTILE
    (_, text, form), *rest = turning_view(water).calls
    assert form == "xyz" and text.splitlines()[0].strip() == "3" and HOSTILE not in text
    assert "addUnitCell" not in [name for name, *_ in rest]
    (_, text, form), *rest = turning_view(bulk("NaCl", "rocksalt", a=5.6)).calls
    assert form == "cif" and "_cell_length_a" in text and "addUnitCell" in [name for name, *_ in rest]
    (name, text, _), *rest = turning_view([water, water]).calls
    assert name == "addModelsAsFrames" and len(re.findall(r"^O ", text, flags=re.M)) == 2
    assert "animate" in [name for name, *_ in rest]


@pytest.mark.parametrize("nothing", [[], ["CCO"], [np.zeros(3)]])
def test_nothing_to_turn_is_an_error(nothing, viewer):
    with pytest.raises(StructureError, match=r"no structure to show. Fix: give an ase.Atoms"):
        turning_view(nothing)


def test_without_py3dmol_the_error_has_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"geometric-zoo\[notebook\]"):
        turning_view(molecule("H2O"))


@pytest.mark.skipif(not has_viewer(), reason="py3Dmol is not installed")
def test_a_molecule_from_a_smiles_is_shown_beside_its_properties():
    html = Prediction({"gap": 1.0, "smiles": "O", "atoms": molecule("H2O")}, {"gap": "eV"})._repr_html_()
    assert "3dmolviewer" in html and html.index("gap") < html.index("3dmolviewer")
