"""Kinds of geometry that a model was not trained on are flagged, at the promised share of false alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import zoo
from zoo.data.edges import with_edges
from zoo.data.sample import open_sample
from zoo.errors import CalibrationError, EvaluationError, WeightsError
from zoo.evaluation.pictures import draw_detection
from zoo.uncertainty import FILE, ErrorModel
from zoo.uncertainty.calibrate import calibrate, write
from zoo.uncertainty.detector import FALSE_ALARMS, fit_detector


def cloud(n: int, shift: float, *, axis: int = 0, seed: int = 0) -> torch.Tensor:
    x = torch.randn(n, 12, generator=torch.Generator().manual_seed(seed))
    x[:, axis] += shift
    return x


def test_each_other_kind_is_seen_and_false_alarms_are_shared_between_them():
    detector = fit_detector(cloud(600, 0), cloud(2000, 0, seed=1),
                            {"left": cloud(600, -5, seed=2), "up": cloud(600, 5, axis=1, seed=3)})
    def flagged(given):
        most, kind = detector.log_odds(given).max(1)
        return [detector.kinds[k] for odds, k in zip(most.tolist(), kind.tolist()) if odds > 0]
    assert len(flagged(cloud(2000, 0, seed=4))) / 2000 == pytest.approx(FALSE_ALARMS, abs=0.02)
    assert flagged(cloud(100, -5, seed=5)).count("left") > 95
    assert flagged(cloud(100, 5, axis=1, seed=6)).count("up") > 95


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model with random weights, its data with a second kind of geometry, and the error model of both."""
    sample = open_sample(cutoff=None)
    pressed = replace(sample, pos=sample.pos * 0.93)
    both = [sample, pressed]
    store = with_edges(zoo.data.store.Store.from_tensors(
        torch.cat([s.z for s in both]), torch.cat([s.pos for s in both]),
        n_atoms=torch.cat([s.n_atoms for s in both]), ids=torch.cat([s.ids for s in both]),
        labels={"gap": torch.cat([s.labels["gap"] for s in both]),
                "geometry": torch.arange(2, dtype=torch.float64).repeat_interleave(len(sample))},
        units={"gap": "eV", "geometry": "1"},
        meta={**sample.meta, "kinds": {"label": "geometry", "names": ["b3lyp", "pressed"]}}), 4.0)
    folder = tmp_path_factory.mktemp("detector")
    store.save(folder / "store")
    torch.manual_seed(0)
    model = zoo.create("painn", targets={"gap": {"readout": "intensive", "unit": "eV"}}, cutoff=4.0, channels=16,
                       num_layers=2, elements=["H", "C", "N", "O", "F"], pbc=False)
    zoo.save(model, folder / "tiny", name="tiny", data={"dataset": "qm9"})
    model = zoo.load(folder / "tiny")
    return model, folder, calibrate(model, data=folder / "store", flag=["pressed"])


def test_a_model_flags_the_kind_that_it_was_calibrated_against(trained, tmp_path):
    model, _, error_model = trained
    error_model.save(tmp_path / FILE)
    again = ErrorModel.load(tmp_path / FILE)
    assert again.facts.kinds == ["pressed"] and again.facts.format == 2
    model.__dict__["_error_model"] = again
    sample = open_sample(cutoff=None)
    rows = torch.nonzero(torch.isin(sample.ids, torch.tensor(sample.meta["subsets"]["test"])))[:, 0].tolist()
    graphs = [sample.graph([row]) for row in rows]
    pressed = [graph.replace(pos=graph.pos * 0.93) for graph in graphs]
    flags = [np.mean([any("pressed" in reason for reason in p["outside"]) for p in
                      model.predict(some, uncertainty=True)]) for some in (graphs, pressed)]
    assert flags[0] < 0.15 and flags[1] > 0.8
    with pytest.raises(WeightsError, match="format"):
        broken = replace(again, facts=replace(again.facts, format=1))
        broken.save(tmp_path / "broken.safetensors")
        ErrorModel.load(tmp_path / "broken.safetensors")


def test_detection_is_drawn_from_the_test_split(trained, tmp_path):
    model, folder, error_model = trained
    model.__dict__["_error_model"] = error_model
    card = model.card
    model.card = write(error_model, card)
    try:
        found = zoo.evaluate(model, data=folder / "store")
        assert draw_detection(found, tmp_path / "roc.png").stat().st_size > 5000
        with pytest.raises(EvaluationError, match=r"no detector.*Fix:"):
            draw_detection(replace(found, flagged_kinds=()), tmp_path / "none.png")
    finally:
        model.card = card
    assert found.flagged_kinds == ["pressed"] and [len(v) for v in found.detection.values()] == [100, 100]
    assert np.mean(found.detection["pressed"] > 0) > 0.8 and found.kinds["outside"][0] < 0.15


def test_a_kind_that_the_data_do_not_have_is_refused(trained):
    model, folder, _ = trained
    with pytest.raises(CalibrationError, match=r"no kind of structures 'presed'.*pressed.*Fix:"):
        calibrate(model, data=folder / "store", flag=["presed"])
