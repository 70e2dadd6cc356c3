"""Constants of the readouts: least squares on the training split, given values kept, nonsense refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tiny import make_model, make_store

from zoo.data import Store
from zoo.errors import TrainingError
from zoo.training.criterion import Criterion
from zoo.training.recipe import Loss
from zoo.training.references import absurd_residuals, fit_readouts, solve

ROWS = torch.arange(48)


def test_atomic_references_are_found_exactly(store: Store) -> None:
    """Labels that are a sum over atoms, plus noise orthogonal to the composition, give back what they were made of."""
    true = torch.tensor([-13.6, -1030.1, -2042.3], dtype=torch.float64)
    composition = store.composition([1, 6, 8]).double()
    noise = torch.linspace(-1, 1, len(store), dtype=torch.float64)
    noise[ROWS] -= composition[ROWS] @ torch.linalg.lstsq(composition[ROWS], noise[ROWS]).solution
    made = replace(store, labels={**store.labels, "energy": composition @ true + noise})
    model = make_model()
    spread = fit_readouts(model, made, ROWS, ["energy"])
    torch.testing.assert_close(model.readouts["energy"].constants.coefficients, true, rtol=0, atol=1e-9)
    assert spread["energy"] == pytest.approx(float(noise[ROWS].square().mean().sqrt()), rel=1e-9)


def test_only_the_training_rows_count(store: Store) -> None:
    labels = {**store.labels, "energy": store.labels["energy"].clone()}
    labels["energy"][48:] = 1e9
    one, other = make_model(), make_model()
    fit_readouts(one, store, ROWS, ["energy", "gap"])
    fit_readouts(other, replace(store, labels=labels), ROWS, ["energy", "gap"])
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))


def test_an_element_that_never_occurs_gets_no_reference() -> None:
    basis = torch.tensor([[1.0, 0, 2], [2, 0, 1], [3, 0, 3]], dtype=torch.float64)
    solution = solve(basis, basis @ torch.tensor([[5.0], [0], [-7]], dtype=torch.float64))
    torch.testing.assert_close(solution[:, 0], torch.tensor([5.0, 0, -7], dtype=torch.float64))


def test_molecules_of_one_formula_have_a_solution_too() -> None:
    """All counts proportional: the matrix has rank one, and the smallest solution is taken."""
    basis = torch.ones(5, 1, dtype=torch.float64) * torch.tensor([2.0, 1.0], dtype=torch.float64)
    solution = solve(basis, torch.full((5, 1), 10.0, dtype=torch.float64))
    torch.testing.assert_close(basis @ solution, torch.full((5, 1), 10.0, dtype=torch.float64))


def test_labels_come_back_from_their_standardised_form(store: Store) -> None:
    """physical(standardise(y)) = y to float64, whatever the dtype of the model."""
    model = make_model()
    fit_readouts(model, store, ROWS, ["energy", "gap"])
    graph = store.graph(torch.arange(60), dtype=torch.float64)
    for name in ("energy", "gap"):
        readout, y = model.readouts[name], store.labels[name]
        there = readout.standardise(y, graph, model.composition(graph))
        assert float(there[ROWS].square().mean()) == pytest.approx(1.0, rel=1e-6)
        torch.testing.assert_close(readout.physical(there, graph, model.composition(graph)), y, rtol=1e-13, atol=1e-9)


def test_given_references_are_used_and_absurd_ones_are_found(store: Store) -> None:
    model = make_model()
    zeros = torch.zeros(3, dtype=torch.float64)
    fit_readouts(model, store, ROWS, ["energy"], given={"energy": zeros})
    assert not model.readouts["energy"].constants.coefficients.any()
    assert absurd_residuals(model, store, ROWS, ["energy", "gap"])["energy"] < -100
    fit_readouts(model, store, ROWS, ["energy"])
    assert absurd_residuals(model, store, ROWS, ["energy", "gap"]) == {}


def test_what_a_trained_network_gives_is_taken_away_first(store: Store) -> None:
    model = make_model()
    fit_readouts(model, store, ROWS, ["energy"])
    scale = model.readouts["energy"].constants.scale.clone()
    composition = store.composition([1, 6, 8])[ROWS].double()
    network = store.labels["energy"][ROWS] + composition @ torch.tensor([1.0, 2, 3]).double()
    fit_readouts(model, store, ROWS[:47], ["energy"], network={"energy": network[:47] + 1e-3 * torch.arange(47)})
    found = model.readouts["energy"].constants
    torch.testing.assert_close(found.coefficients, torch.tensor([-1.0, -2, -3]).double(), rtol=0, atol=0.1)
    assert torch.equal(found.scale, scale), "the network was trained to this scale"


@pytest.mark.parametrize(("label", "message"), [(math.nan, "no molecule"), (0.0, "nothing to learn")])
def test_labels_that_cannot_be_learnt_are_refused(store: Store, label: float, message: str) -> None:
    made = replace(store, labels={**store.labels, "gap": torch.full((60,), label, dtype=torch.float64)})
    with pytest.raises(TrainingError, match=message):
        fit_readouts(make_model(), made, ROWS, ["gap"])


def test_losses_are_sums_over_labels_divided_by_global_counts(store: Store) -> None:
    """Checked against the definition; the parts of a batch add up to the whole of it."""
    model = make_model(dtype=torch.float64)
    fit_readouts(model, store, ROWS, ["energy", "gap"])
    losses = {"energy": Loss(kind="l2", weight=2.0, per_atom=True), "gap": Loss(kind="huber", delta=0.3),
              "forces": Loss(weight=7.0)}
    criterion = Criterion(model, store, losses, dtype=torch.float64)
    rows = torch.arange(10, 30)

    def loss_of(part: torch.Tensor) -> torch.Tensor:
        outputs = model(store.graph(part, dtype=torch.float64), ("forces",), standardised=True)
        return criterion.loss(outputs, part, criterion.counts(rows))

    graph = store.graph(rows, dtype=torch.float64)
    physical = model(graph, ("forces",))
    scale = {name: model.readouts[name].constants.scale for name in ("energy", "gap")}
    energy = (physical["energy"] - store.labels["energy"][rows]) / scale["energy"] / store.n_atoms[rows]
    gap = ((physical["gap"] - store.labels["gap"][rows]) / scale["gap"]).abs()
    huber = torch.where(gap < 0.3, 0.5 * gap**2, 0.3 * (gap - 0.15))
    forces = (physical["forces"] - store.labels_of(rows, ["forces"])["forces"]).abs()
    expected = 2 * energy.square().mean() + huber.mean() + 7 * forces.mean()
    torch.testing.assert_close(loss_of(rows), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(loss_of(rows[:3]) + loss_of(rows[3:]), expected, rtol=1e-9, atol=1e-9)


def test_validation_metrics_are_in_physical_units_and_skip_missing_labels() -> None:
    store = make_store()
    labels = {**store.labels, "gap": store.labels["gap"].clone()}
    labels["gap"][50:] = math.nan
    store = replace(store, labels=labels)
    model = make_model(dtype=torch.float64)
    fit_readouts(model, store, ROWS, ["energy", "gap"])
    losses = {"energy": Loss(), "gap": Loss()}
    criterion = Criterion(model, store, losses, dtype=torch.float64)
    rows = torch.arange(40, 60)
    graph = store.graph(rows, dtype=torch.float64)
    outputs = {part: model(store.graph(part, dtype=torch.float64), standardised=True) for part in rows.split(7)}
    metrics = criterion.metrics(sum(criterion.errors(found, part) for part, found in outputs.items()))
    physical = {name: value.detach() for name, value in model(graph).items()}
    assert metrics["energy.mae"] == pytest.approx(float((physical["energy"] - labels["energy"][rows]).abs().mean()))
    assert metrics["gap.mae"] == pytest.approx(float((physical["gap"][:10] - labels["gap"][40:50]).abs().mean()))
