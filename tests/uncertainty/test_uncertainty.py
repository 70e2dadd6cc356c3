"""Error estimates: intervals that hold on structures nobody has seen, and flags on those unlike the training data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path

import ase.build
import numpy as np
import pytest
import torch
from toy import toy_model
from typer.testing import CliRunner

import zoo
from zoo.cards.card import Card
from zoo.cli import app
from zoo.errors import CalibrationError, StructureError, WeightsError
from zoo.graph.graph import Graph
from zoo.hub.repository import contents_of
from zoo.model.feature_hook import FeatureHook
from zoo.uncertainty import FILE, ErrorModel, describe, interval_metrics, spearman
from zoo.uncertainty.calibrate import calibrate, write
from zoo.uncertainty.descriptors import Description, last_layer_gradient
from zoo.uncertainty.error_model import Facts, atom_distance, inputs, pooled_distance
from zoo.uncertainty.fit import Geometry, Sample, _residual_regression, fit, whitening

SAMPLE = Path(str(files("zoo.data").joinpath("samples", "qm9")))
MOLECULES = [ase.build.molecule(name) for name in ("CH3CH2OH", "CO2", "C6H6", "NH3")]


def test_rank_correlation_shares_the_ranks_of_equal_values() -> None:
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([10.0, 20, 20, 30])) == pytest.approx(1)
    # Ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3.
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 3, 4])) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    x = np.random.default_rng(0).normal(size=500)
    assert spearman(x, np.exp(x)) == pytest.approx(1)
    assert spearman(x, -x) == pytest.approx(-1)
    assert spearman(np.ones(5), x[:5]) == 0


def test_intervals_are_measured_as_they_are_defined() -> None:
    found = interval_metrics(np.array([0.1, -0.5, 2.0, -3.0]), np.array([0.2, 0.4, 2.5, 1.0]))
    assert found["coverage"] == 0.5 and found["width"] == pytest.approx(0.7)


# -- descriptors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["energy", "intensive", "spatial_extent", "dipole"])
def test_the_last_layer_gradient_says_what_a_change_of_that_layer_does(kind: str) -> None:
    model = toy_model(kind)
    graph = Graph.from_atoms(MOLECULES, dtype=torch.float64)
    with torch.no_grad(), FeatureHook(model) as hook:
        before = model(graph, standardised=True)[kind]
    readout = model.readouts[kind]
    gradient = last_layer_gradient(readout, hook.features, graph)
    last = readout.net[-1]
    change = 1e-5 * torch.randn(last.in_features + 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        last.weight[0] += change[:-1]
        last.bias[0] += change[-1]
        after = model(graph, standardised=True)[kind]
    torch.testing.assert_close(gradient[:, : len(change)] @ change, after - before, rtol=1e-3, atol=1e-10)


def test_a_vector_target_has_no_estimate_and_stops_nobody() -> None:
    model = toy_model("energy", "vector")
    graph = Graph.from_atoms(MOLECULES, dtype=torch.float64)
    with torch.no_grad(), FeatureHook(model) as hook:
        model(graph)
    whole, alone = describe(model, graph, hook.features), last_layer_gradient(model.readouts["energy"],
                                                                               hook.features, graph)
    assert whole.heads.shape[1] == len(model.elements) + model.layout.count(0, 1) + alone.shape[1]


def test_a_structure_is_described_alike_alone_and_in_a_batch() -> None:
    model = toy_model("energy", "intensive")

    def of(atoms: list[ase.Atoms]) -> Description:
        graph = Graph.from_atoms(atoms, dtype=torch.float64)
        with torch.no_grad(), FeatureHook(model) as hook:
            model(graph)
        return describe(model, graph, hook.features)

    together = of(MOLECULES)
    for k, atoms in enumerate(MOLECULES):
        torch.testing.assert_close(of([atoms]).heads[0], together.heads[k], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(of([atoms]).pooled[0], together.pooled[k], rtol=1e-5, atol=1e-6)


# -- fitting -----------------------------------------------------------------------------------------------------------

WIDTH = 4
FACTS = Facts(weights="0" * 64, targets=["a", "b"], elements=[1, 6], level=0.9,
              most={"heavy atoms": 9, "atoms": 20, "H": 12, "C": 9}, finite=True, train=2000, val=2000)


def made_up(n: int, seed: int) -> tuple[Description, torch.Tensor]:
    """Structures whose error in ``a`` grows with a feature, and in ``b`` is in part a linear function of the heads."""
    random = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 8, (n, 2), generator=random).float()
    atoms = counts.sum(1).long()
    batch = torch.repeat_interleave(torch.arange(n), atoms)
    features = torch.randn(len(batch), WIDTH, generator=random) * 0.3 + torch.randn(n, WIDTH, generator=random)[batch]
    sums = torch.zeros(n, WIDTH + 1).index_add(0, batch, torch.cat([features, torch.ones(len(batch), 1)], 1))
    heads = torch.cat([counts, torch.randn(n, 6, generator=random)], 1)
    mean = sums[:, 0] / sums[:, -1]
    noise = torch.randn(n, 2, generator=random, dtype=torch.float64)
    residual = torch.stack([noise[:, 0] * torch.exp(mean).double(),
                            heads[:, 2:5].sum(1).double() + 0.3 * noise[:, 1]], 1) * torch.tensor([0.02, 5.0]).double()
    return Description(heads, sums, counts, features, batch), residual


@cache
def fitted(missing: float = 0.0) -> ErrorModel:
    train, residual = made_up(2000, 0)
    geometry = Geometry(whitening(train.pooled.double().T @ train.pooled.double(), 2000), train.atoms.mean(0),
                        whitening(torch.cov(train.atoms.T).double(), 1))
    val, val_residual = made_up(2000, 1)
    if missing:
        gone = torch.rand(2000, generator=torch.Generator().manual_seed(2)) < missing
        val_residual[gone, 1] = torch.nan
        residual[gone, 1] = torch.nan
    distance = torch.stack([pooled_distance(val, geometry.whiten),
                            atom_distance(val, geometry.atom_mean, geometry.atom_whiten)], 1)
    given = inputs(val, distance, val.heads[:, :0])
    return fit(Sample(train.heads, residual), Sample(val.heads, val_residual, given), geometry, distance, FACTS)


@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_intervals_hold_and_rank_on_structures_that_were_not_fitted(missing: float) -> None:
    found = fitted(missing)
    test, residual = made_up(3000, 3)
    estimate = found(test)
    for k, target in enumerate(FACTS.targets):
        held = interval_metrics(residual[:, k].numpy(), estimate.widths[target])
        assert 0.87 < held["coverage"] < 0.93, target
        # A constant width would have 0; what is left of "a" is noise of known size, "b" is mostly foreseen.
        assert held["spearman"] > (0.4 if target == "a" else 0.7), target
    flagged = [bool(reasons) for reasons in estimate.out_of_distribution]
    assert np.mean(flagged) < 0.01


def test_beyond_the_training_data_intervals_widen_without_end() -> None:
    found = fitted()
    test, _ = made_up(50, 4)
    near = found(test).widths["a"]
    widths = {}
    for far in (100.0, 1000.0):
        away = replace(test, pooled=test.pooled * far, atoms=test.atoms * far)
        widths[far] = found(away).widths["a"]
        assert all(any("as far" in reason for reason in reasons) for reasons in found(away).out_of_distribution)
    # Nothing that the networks see still changes; the distance alone does.
    assert np.median(widths[1000.0] / widths[100.0]) == pytest.approx(10, rel=0.01)
    assert np.median(widths[1000.0] / near) > 100


def test_the_file_gives_the_same_model_and_another_file_none(tmp_path: Path) -> None:
    found = fitted()
    found.save(tmp_path / FILE)
    again = ErrorModel.load(tmp_path / FILE)
    test, _ = made_up(20, 5)
    assert again.facts == found.facts
    # To rounding: where in memory a file's numbers lie decides how a processor adds them.
    np.testing.assert_allclose(again(test).widths["b"], found(test).widths["b"], rtol=1e-6)
    again.save(tmp_path / "second")
    assert (tmp_path / "second").read_bytes() == (tmp_path / FILE).read_bytes()
    zoo.cards.weights.save(toy_model(), tmp_path / "other.safetensors", metadata={"name": "x"})
    with pytest.raises(WeightsError, match="not an error model"):
        ErrorModel.load(tmp_path / "other.safetensors")


# -- of a trained model ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights whose card says it was trained on QM9, with its error estimates."""
    torch.manual_seed(0)
    targets = {"U0": {"readout": "energy", "unit": "eV"}, "gap": {"readout": "intensive", "unit": "eV"}}
    model = zoo.create("painn", targets=targets, elements=["H", "C", "N", "O", "F", "Si"], pbc=False, cutoff=4.0,
                       channels=8, num_layers=1)
    place = tmp_path_factory.mktemp("cards") / "tiny"
    zoo.save(model, place, name="tiny-qm9", data={"dataset": "qm9"})
    loaded = zoo.load(place)
    write(calibrate(loaded, data=SAMPLE), loaded.card)
    return place


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "tiny"))


def alkane(carbons: int) -> ase.Atoms:
    """A zigzag chain, near enough to a minimum."""
    atoms = ase.Atoms()
    for k in range(carbons):
        x, side = 1.27 * k, 1 if k % 2 else -1
        ends = [(x - 0.6, 0.6 * side, 0)] * (k == 0) + [(x + 0.6, 0.6 * side, 0)] * (k == carbons - 1)
        around = [(x, 0.43 * side + 0.63 * side, 0.88), (x, 0.43 * side + 0.63 * side, -0.88), *ends]
        atoms += ase.Atoms(f"CH{len(around)}", [(x, 0.43 * side, 0), *around])
    return atoms


def test_a_prediction_tells_how_far_off_it_may_be(folder: Path) -> None:
    model = zoo.load(folder)
    plain, told = model.predict(MOLECULES), model.predict(MOLECULES, uncertainty=True, derivatives=["forces"])
    for without, result in zip(plain, told):
        assert set(result["uncertainty"]) == {"U0", "gap"} and min(result["uncertainty"].values()) > 0
        assert result["U0"] == pytest.approx(without["U0"], abs=1e-6), "the estimate changes no prediction"
        assert isinstance(result["outside"], list)
    assert "uncertainty" not in plain[0]
    alone = model.predict(MOLECULES[2], uncertainty=True)
    assert alone["uncertainty"]["gap"] == pytest.approx(told[2]["uncertainty"]["gap"], rel=1e-4)
    frame = pytest.importorskip("pandas") and model.predict(MOLECULES, uncertainty=True, as_frame=True)
    assert frame["U0_uncertainty"][1] == pytest.approx(told[1]["uncertainty"]["U0"], rel=1e-4)


def test_molecules_unlike_those_trained_on_are_flagged(folder: Path) -> None:
    model = zoo.load(folder)
    large = model.predict(alkane(15), uncertainty=True)
    assert any("15 heavy atoms" in reason and "has 9" in reason for reason in large["outside"])
    silane = model.predict(ase.build.molecule("SiH4"), uncertainty=True)
    assert "no structure with Si was trained on" in silane["outside"]
    torn = ase.build.molecule("CH3CH2OH")
    torn.positions *= 0.55
    assert any("as far" in reason for reason in model.predict(torn, uncertainty=True)["outside"])
    ordinary = ase.build.molecule("C6H6")
    assert model.predict(ordinary, uncertainty=True)["outside"] == []


def test_without_the_file_there_is_no_estimate_and_no_error(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / FILE).unlink()
    result = zoo.load(folder).predict(MOLECULES[0], uncertainty=True)
    assert result["uncertainty"] is None and result["outside"] is None and np.isfinite(result["U0"])
    assert "is not next to its card" in caplog.text
    never = toy_model().predict(MOLECULES[0], uncertainty=True)
    assert never["uncertainty"] is None


def test_a_spoilt_file_is_not_used(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray((folder / FILE).read_bytes())
    data[-1] ^= 1
    (folder / FILE).write_bytes(data)
    assert zoo.load(folder).predict(MOLECULES[0], uncertainty=True)["uncertainty"] is None
    assert "not the bytes the card" in caplog.text


def retrained(folder: Path) -> None:
    """Other weights under the old card's section, as a careless copy would leave them."""
    model = zoo.load(folder)
    section = model.card.uncertainty.model_dump(exclude_unset=True)
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    zoo.save(model, folder)
    assert Card.load(folder).uncertainty is None, "saving other weights drops the estimates"
    Card.load(folder).replace(uncertainty=section).save(folder)


def test_estimates_of_other_weights_are_not_shown(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                  caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    retrained(folder)
    assert zoo.load(folder).predict(MOLECULES[0], uncertainty=True)["uncertainty"] is None
    assert "zoo calibrate tiny-qm9" in caplog.text
    ran = CliRunner().invoke(app, ["evaluate", str(folder), "--data", str(SAMPLE), "--write"])
    assert ran.exit_code == 0 and "calibrated for the weights" in ran.output
    assert Card.load(folder).uncertainty is None


def test_the_card_says_how_intervals_held_on_the_test_split(folder: Path, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, ["evaluate", str(folder), "--data", str(SAMPLE), "--write"])
    assert ran.exit_code == 0, (ran.output, ran.exception)
    card = Card.load(folder)
    (held,) = card.uncertainty.measured
    assert (held.split, held.n) == ("test", 100)
    assert set(held.coverage) == {"U0", "gap"}
    # 40 structures to calibrate on and 100 to measure: 0.9 within three standard deviations.
    assert all(0.7 < share <= 1 for share in held.coverage.values())
    model = zoo.load(folder)
    result = zoo.evaluate(model, data=SAMPLE).results["gap"]
    found = interval_metrics(result.error, result.width)
    assert held.coverage["gap"] == pytest.approx(found["coverage"], abs=1e-3)
    assert held.width["gap"] == pytest.approx(1000 * found["width"], rel=1e-3), "in meV, as the MAE"
    parts = {part.by: part for part in card.breakdown}
    assert sum(parts["heavy_atoms"].n) == 100 and parts["element"].groups[0] == "H"
    mae = next(m.value for m in card.metrics if (m.target, m.metric) == ("gap", "mae"))
    heavy = parts["heavy_atoms"]
    assert np.average(heavy.mae["gap"], weights=heavy.n) == pytest.approx(mae, rel=1e-3)


def test_saving_and_pushing_carry_the_file(folder: Path, tmp_path: Path) -> None:
    zoo.save(zoo.load(folder), tmp_path / "copy")
    assert (tmp_path / "copy" / FILE).read_bytes() == (folder / FILE).read_bytes()
    assert zoo.load(tmp_path / "copy").predict(MOLECULES[0], uncertainty=True)["uncertainty"] is not None
    contents = contents_of(folder, Card.load(folder), "org/tiny")
    assert FILE in contents.files and FILE not in contents.left_out


def test_calibration_needs_the_data_of_the_card(folder: Path, tmp_path: Path) -> None:
    import ase.io

    atoms = ase.build.molecule("CH4")
    atoms.info["gap"] = 0.3
    ase.io.write(tmp_path / "own.extxyz", [atoms])
    model = zoo.load(folder)
    model.card = model.card.replace(data={"dataset": "qm9", "units": {"gap": "Hartree"}})
    with pytest.raises(CalibrationError, match="at least 30"):
        calibrate(model, data=tmp_path / "own.extxyz")
    with pytest.raises(CalibrationError, match="save it first"):
        calibrate(toy_model())


def test_the_command_fits_and_the_predictions_show_it(folder: Path, tmp_path: Path) -> None:
    import ase.io

    (folder / FILE).unlink()
    Card.load(folder).replace(uncertainty=None).save(folder)
    ran = CliRunner().invoke(app, ["calibrate", str(folder), "--data", str(SAMPLE), "--sample", "100", "--evaluate"])
    assert ran.exit_code == 0, (ran.output, ran.exception)
    assert "coverage" in ran.output and Card.load(folder).uncertainty.measured
    ase.io.write(tmp_path / "large.xyz", alkane(15))
    ase.io.write(tmp_path / "small.xyz", ase.build.molecule("C6H6"))
    paths = [str(tmp_path / "large.xyz"), str(tmp_path / "small.xyz")]
    table = CliRunner().invoke(app, ["predict", str(folder), *paths])
    assert table.output.count("± ") >= 4 and "large.xyz is outside the training data: 15 heavy" in table.output
    ran = CliRunner().invoke(app, ["predict", str(folder), *paths, "--json", "-q"])
    large, small = json.loads(ran.stdout)["results"]
    assert json.loads(ran.stdout)["uncertainty_level"] == 0.9
    assert large["outside"] and not small["outside"] and small["uncertainty"]["U0"] > 0
    ran = CliRunner().invoke(app, ["predict", str(folder), *paths, "--csv", "-q"])
    head, first, _ = ran.stdout.splitlines()
    assert "± U0 [eV]" in head and "outside" in head and "15 heavy atoms" in first
    without = CliRunner().invoke(app, ["predict", str(folder), *paths, "--csv", "-q", "--no-uncertainty"])
    assert "±" not in without.stdout
    CliRunner().invoke(app, ["predict", str(folder), *paths, "-q", "--output", str(tmp_path / "out.extxyz")])
    assert ase.io.read(tmp_path / "out.extxyz", 1).info["uncertainty_gap"] == pytest.approx(
        small["uncertainty"]["gap"], rel=1e-4)


@pytest.mark.parametrize("name", ["painn-qm9", "painn-qm9-anygeo", "schnet-qm9", "nequip-qm9", "gemnet-qm9",
                                  "dimenet-qm9"])
def test_atoms_diatomics_radicals_and_ions_are_no_molecules_of_qm9(name: str) -> None:
    model = zoo.load(name)
    odd = [ase.Atoms(symbol) for symbol in "HCNOF"]
    odd += [ase.build.molecule(n) for n in ("H2", "N2", "O2", "CO", "HF", "OH", "CH3", "NH2", "NO2", "C2H3", "CH3CH2O")]
    for atoms, found in zip(odd, model.predict(odd, uncertainty=True, on_error="keep")):
        # What no structure can have is an error.
        assert isinstance(found, StructureError) or found["outside"], atoms.get_chemical_formula()
    (usual,) = model.predict([ase.build.molecule("CH3CH2OH")], uncertainty=True)
    assert not any("electrons" in reason or "smallest" in reason for reason in usual["outside"])


# -- heads that say the same for all structures ------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", ["constant", "nearly constant", "repeated", "zero"])
def test_heads_that_are_the_same_for_all_structures_leave_the_regression_as_it_is(spoil: str) -> None:
    """Structures of one composition: what their heads share is known to rounding, and the matrix was not positive."""
    generator = torch.Generator().manual_seed(0)
    heads = torch.randn(400, 6, generator=generator)
    noise = torch.randn(400, 20, generator=generator)
    extra = {"constant": torch.full((400, 20), 3000.0), "nearly constant": 3000 + 1e-4 * noise,
             "repeated": heads[:, :1].repeat(1, 20) * (1 + 1e-7 * noise), "zero": torch.zeros(400, 20)}[spoil]
    residual = heads @ torch.randn(6, 1, generator=generator) + 0.1 * torch.randn(400, 1, generator=generator)
    folds = torch.arange(100) % 4

    def held_out(x: torch.Tensor) -> torch.Tensor:
        return _residual_regression(x[:300], residual[:300].double(), x[300:], residual[300:].double(), folds)[1]

    plain, spoilt = held_out(heads), held_out(torch.cat([heads, extra], 1))
    assert spoilt.isfinite().all()
    assert float((plain - spoilt).square().mean().sqrt()) < 0.05 * float(plain.std())
