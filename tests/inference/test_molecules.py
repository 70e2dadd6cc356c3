"""Prediction from SMILES in Python."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import zoo
from zoo.errors import StructureError
from zoo.inference.molecules import conformer_weights, predict_molecules
from zoo.structures.smiles import embed

pytest.importorskip("rdkit")


@pytest.fixture(scope="module")
def model():
    return zoo.load("schnet-qm9")


def test_a_model_takes_smiles_among_structures(model):
    alone = model.predict("CCO")
    assert alone == model.predict(embed("CCO").atoms())
    both = model.predict(["CCO", embed("N").atoms()])
    assert both[0]["U0"] == pytest.approx(alone["U0"], abs=1e-4)
    with pytest.raises(StructureError, match="outside the domain of schnet-qm9"):
        model.predict(["CCO", "CCl"])
    kept = model.predict(["CCl", "CCO"], on_error="keep")
    assert isinstance(kept[0], StructureError)
    assert kept[1]["U0"] == pytest.approx(alone["U0"], abs=1e-4)


def test_one_line(model):
    result = zoo.predict_smiles("CC(O)C(F)N", model=model, conformers=3)
    assert result["notes"]
    assert result["atoms"].get_chemical_formula() == "C3H8FNO"
    assert set(result["uncertainty"]) == set(model.units)
    assert result["U0"] == pytest.approx(model.predict(result["atoms"])["U0"], abs=1e-6)
    # Named, the isomer gives the same.
    assert zoo.predict_smiles(result["smiles"], model="schnet", conformers=3)["gap"] == result["gap"]


def test_several_keep_their_order_and_errors_say_which(model):
    some = ["CCO", "C(", "N"]
    results = zoo.predict_smiles(some, model=model, conformers=2, on_error="keep")
    assert [isinstance(one, StructureError) for one in results] == [False, True, False]
    turned = zoo.predict_smiles(iter(some[::-1]), model=model, conformers=2, on_error="keep")[::-1]
    for one, other in zip(results[::2], turned[::2]):
        assert {k: v for k, v in one.items() if k != "atoms"} == {k: v for k, v in other.items() if k != "atoms"}
    with pytest.raises(StructureError, match="SMILES 1: 'C\\('"):
        zoo.predict_smiles(some, model=model, conformers=2)
    table = zoo.predict_smiles(some, model=model, conformers=2, on_error="keep", as_frame=True)
    assert table["smiles"].tolist()[::2] == ["CCO", "N"]
    assert {"U0", "U0_uncertainty", "outside", "error"} <= set(table.columns)


def test_averages_over_conformers(model):
    molecule = embed("CCCCO")
    each = model.predict([molecule.atoms(k) for k in range(molecule.found)], uncertainty=True)
    gaps, widths = (np.array([pick(one) for one in each]) for pick in (
        lambda one: one["gap"], lambda one: one["uncertainty"]["gap"]))
    mean = predict_molecules(model, [molecule], average="mean", uncertainty=True)[0]
    assert mean["gap"] == pytest.approx(gaps.mean(), abs=1e-5)
    assert mean["uncertainty"]["gap"] == pytest.approx(widths.mean(), abs=1e-5)
    weights = np.array(conformer_weights(molecule, "boltzmann"))
    energy = np.array([one.energy for one in molecule.minima])
    assert np.log(weights[0] / weights[1]) == pytest.approx((energy[1] - energy[0]) / 0.0256926, rel=1e-4)
    assert weights.sum() == pytest.approx(1)
    assert conformer_weights(replace(molecule, minima=molecule.minima[:1]), "boltzmann") == (1.0,)
    weighted = predict_molecules(model, [molecule], average="boltzmann")[0]
    assert weighted["gap"] == pytest.approx(weights @ gaps, abs=1e-5)
    assert predict_molecules(model, [molecule])[0]["gap"] == pytest.approx(gaps[0], abs=1e-5)
