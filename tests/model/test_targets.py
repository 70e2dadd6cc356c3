"""Targets of any kind: per structure, atom or edge, numbers, vectors and tensors, in one model."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import ase.build
import numpy as np
import pytest
import torch
from torch import nn
from toy import Toy

from zoo.errors import CalibrationError, DataError, PluginError
from zoo.graph.graph import Graph
from zoo.inference.prediction import predict
from zoo.lab.equivariance import equivariance
from zoo.model.atomic_readouts import AtomicScalar, CartesianTensor, Charges
from zoo.model.model import Model
from zoo.model.output_types import output_type
from zoo.model.readouts import Energy, Readout, Vector
from zoo.nn.irreps import FeatureLayout
from zoo.nn.rotations import random_rotation, transform
from zoo.training.criterion import Criterion
from zoo.training.data_checks import check_labels
from zoo.training.recipe import Loss
from zoo.training.references import fit_readouts

ELEMENTS = (1, 6, 8)


class WithTensors(Toy):
    """The toy with ``2e`` features: those of the products of bonds, too."""

    def __init__(self) -> None:
        super().__init__()
        self.irreps_out += "+1x2e"

    def forward(self, graph: Graph) -> torch.Tensor:
        from e3nn.o3 import spherical_harmonics

        h = super().forward(graph)
        vectors = FeatureLayout(f"{self.channels}x0e+{self.channels}x1o").vectors(h)
        return torch.cat([h, spherical_harmonics(2, vectors[:, 0], normalize=False)], 1)


class PerEdge(Readout):
    per = "edge"

    def forward(self, h, graph):
        return graph.edge_len


class OnePerAtom(Readout):
    """Says nothing of atoms, as a stranger's first attempt may."""

    def forward(self, h, graph):
        return self.net(self.layout.scalars(h))[:, 0]


class Moment(Vector):
    """A vector that claims to be a pseudovector."""

    irreps = "1e"


def model_of(backbone=None, **kinds) -> Model:
    torch.manual_seed(1)
    backbone = backbone or Toy()
    layout = FeatureLayout(backbone.irreps_out)
    readouts = {name: kind(layout, ELEMENTS, hidden=[8]) for name, kind in kinds.items()}
    return Model(backbone, readouts, units=dict.fromkeys(kinds, "1") | {"energy": "eV"}, elements=ELEMENTS
                 ).double().eval()


def everything(**more) -> Model:
    return model_of(WithTensors(), energy=Energy, q=Charges, shielding=AtomicScalar, alpha=CartesianTensor,
                    vector=Vector, quadrupole=lambda *a, **k: CartesianTensor(*a, traceless=True, **k),
                    born=lambda *a, **k: CartesianTensor(*a, per="atom", symmetric=False, **k), **more)


def frames() -> list[ase.Atoms]:
    made = [ase.build.molecule(name) for name in ("H2O", "CH4", "CH3CH2OH")]
    for seed, atoms in enumerate(made):
        atoms.rattle(0.05, seed=seed)
    return made


@cache
def labelled():
    """Twelve molecules with a label of each kind."""
    from zoo.data import from_atoms, with_edges

    many = [a for seed in range(4) for a in frames()]
    teacher = everything()
    with torch.no_grad():
        teacher.readouts["shielding"].set_constants(coefficients=torch.tensor([30.0, 100.0, 300.0]), scale=2.0)
    for seed, atoms in enumerate(many):
        atoms.rattle(0.05, seed=seed)
        out = teacher.predict(atoms)
        atoms.info |= {"alpha": out["alpha"], "energy": out["energy"], "vector": out["vector"]}
        atoms.arrays |= {"q": out["q"], "shielding": out["shielding"], "born": out["born"]}
    names = ("energy", "q", "shielding", "alpha", "vector", "born")
    store = from_atoms(many, properties={n: n for n in names}, units={n: "eV" if n == "energy" else "1" for n in names})
    return with_edges(store, 4.0)


def test_predictions_have_rows_per_structure_atom_and_edge():
    model, given = everything(bond=PerEdge), frames()
    for atoms, out in zip(given, predict(model, given)):
        n = len(atoms)
        assert isinstance(out["energy"], float)
        assert out["q"].shape == out["shielding"].shape == (n,)
        assert (out["alpha"].shape, out["vector"].shape, out["born"].shape) == ((3, 3), (3,), (n, 3, 3))
        assert out["q"].sum() == pytest.approx(0, abs=1e-12)
        assert np.trace(out["quadrupole"]) == pytest.approx(0, abs=1e-12)
        j, i = out["edge_index"]
        np.testing.assert_allclose(out["bond"], np.linalg.norm(atoms.positions[j] - atoms.positions[i], axis=1))
        alone = predict(model, atoms)
        np.testing.assert_allclose(out["born"], alone["born"], atol=1e-12)


def test_charges_sum_to_the_total_charge_in_physical_units():
    model = model_of(q=Charges)
    model.readouts["q"].set_constants(coefficients=torch.tensor([0.4, -0.1, -0.8]), scale=0.3)
    given = frames()
    for atoms, charge in zip(given, (1.0, -1.0, 0.0)):
        atoms.info["charge"] = charge
    graph = Graph.from_atoms(given, dtype=torch.float64, inputs=("charge",))
    sums = torch.zeros(3, dtype=torch.float64).index_add_(0, graph.batch, model(graph)["q"])
    torch.testing.assert_close(sums, torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64))


def test_every_target_rotates_as_declared():
    for row in equivariance(everything(), frames()[2], trials=2):
        assert row.relative < (1e-3 if row.dtype == "float32" else 1e-9), row
        assert row.size > 0, row


@pytest.mark.parametrize("wrong", [
    Moment,
    type("Skew", (CartesianTensor,), {"forward": lambda self, h, g: CartesianTensor.forward(self, h, g) + torch.diag(
        torch.ones(2, dtype=h.dtype), 1)}),
])
def test_a_target_that_rotates_otherwise_shows(wrong):
    rows = equivariance(model_of(t=wrong), frames()[2], trials=1)
    assert max(row.relative for row in rows if row.of == "t" and row.dtype == "float64") > 1e-3


@pytest.mark.parametrize(("irreps", "shape"), [
    ("0e+2e", ()), ("2e", ()), ("1e", (3,)), ("3x0e", (3,)), ("3x1o", (3, 3)),
])
def test_irreps_in_the_order_of_e3nn_rotate_by_their_matrices(irreps, shape):
    kind = output_type("x", model_of(x=type("X", (OnePerAtom,), {"irreps": irreps, "shape": shape})).readouts["x"])
    value, matrix = torch.randn(4, *kind.shape, dtype=torch.float64), -random_rotation(3)
    expected = transform(irreps, value.flatten(1), matrix).reshape(value.shape)
    torch.testing.assert_close(kind.rotated(value, matrix), expected)


def test_shapes_alone_are_cartesian_or_invariant():
    def kind(**declared):
        return output_type("x", model_of(x=type("X", (OnePerAtom,), declared)).readouts["x"])

    matrix, tensor = -random_rotation(3), torch.randn(2, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(kind(shape=(3, 3)).rotated(tensor, matrix), matrix @ tensor @ matrix.T)
    torch.testing.assert_close(kind(shape=(3, 3), irreps="0o+1o+2o").rotated(tensor, matrix),
                               -matrix @ tensor @ matrix.T)
    assert torch.equal(kind(shape=(3, 2)).rotated(tensor[:, :, :2], matrix), tensor[:, :, :2])
    assert kind().is_scalar
    assert kind(irreps="0e+2e").shape == (6,)


@pytest.mark.parametrize(("declared", "said"), [
    ({"per": "bond"}, "per = 'bond'"), ({"irreps": "vector"}, "cannot be read"),
    ({"irreps": "0e+2e", "shape": (3,)}, "6 numbers"),
])
def test_a_declaration_that_cannot_be_is_refused(declared, said):
    with pytest.raises(PluginError, match=said) as caught:
        model_of(x=type("X", (OnePerAtom,), declared))
    assert "Fix: " in str(caught.value)


def test_an_output_of_another_shape_names_readout_and_shapes():
    model = model_of(q=OnePerAtom)
    with pytest.raises(PluginError, match=r"OnePerAtom of 'q' gives the shape \(8,\) for 2 .* expected \(2,\)"):
        predict(model, frames()[:2])


def test_labels_of_every_kind_are_fitted_and_trained_on():
    store = labelled()
    model = model_of(WithTensors(), energy=Energy, q=Charges, shielding=AtomicScalar, alpha=CartesianTensor,
                     vector=Vector, born=lambda *a, **k: CartesianTensor(*a, per="atom", symmetric=False, **k))
    rows = torch.arange(len(store))
    names = list(model.readouts)
    check_labels(model, store, {"train": rows, "val": rows}, names)
    fit_readouts(model, store, rows, names)
    torch.testing.assert_close(model.readouts["shielding"].constants.coefficients,
                               torch.tensor([30.0, 100.0, 300.0], dtype=torch.float64), atol=3, rtol=0)
    criterion = Criterion(model, store, {name: Loss(kind="l2") for name in names}, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        loss = criterion.loss(model(store.graph(rows, dtype=torch.float64), standardised=True), rows,
                              criterion.counts(rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    graph = store.graph(rows, dtype=torch.float64)
    with torch.no_grad():
        metrics = criterion.metrics(criterion.errors(model(graph, standardised=True), rows))
        physical = model(graph)
    for name in names:
        mae = float((physical[name] - store.labels[name]).abs().mean())
        assert metrics[f"{name}.mae"] == pytest.approx(mae, rel=1e-6)


def test_a_missing_label_of_an_atom_counts_for_nothing():
    store = labelled()
    model = model_of(q=Charges)
    rows = torch.arange(len(store))
    holed = store.labels["q"].clone()
    holed[3] = float("nan")
    store = replace(store, labels={"q": holed})
    fit_readouts(model, store, rows, ["q"])
    criterion = Criterion(model, store, {"q": Loss()}, dtype=torch.float64)
    assert criterion.counts(rows)["q"] == len(store.z) - 1
    with torch.no_grad():
        out = model(store.graph(rows, dtype=torch.float64), standardised=True)
    assert bool(criterion.loss(out, rows, criterion.counts(rows)).isfinite())


def test_labels_per_structure_for_a_target_per_atom_and_labels_per_edge_are_refused():
    store, rows = labelled(), {"train": torch.arange(8), "val": torch.arange(8, 12)}
    with pytest.raises(DataError, match="one number per atom"):
        check_labels(model_of(energy=AtomicScalar), store, rows, ["energy"])
    with pytest.raises(DataError, match="per edge"):
        check_labels(model_of(energy=PerEdge), store, rows, ["energy"])


def test_error_estimates_need_a_number_per_structure(tmp_path):
    from zoo.loading.models import create, load, save
    from zoo.uncertainty.calibrate import calibrate

    targets = {"q": {"readout": "charges", "unit": "e"}, "alpha": {"readout": "tensor", "unit": "a0^3"}}
    model = create("painn", preset="small", targets=targets, elements=["H", "C", "O"])
    save(model, tmp_path)
    loaded = load(tmp_path, verify="golden")  # the recorded outputs have all atoms
    assert loaded.predict(frames()[0])["alpha"].shape == (3, 3)
    with pytest.raises(CalibrationError, match="one number per structure"):
        calibrate(loaded)


def test_a_tensor_needs_vectors_or_tensors():
    scalars = nn.Module()
    scalars.cutoff, scalars.irreps_out = 4.0, "8x0e"
    with pytest.raises(PluginError, match="1o or 2e"):
        model_of(scalars, alpha=CartesianTensor)
