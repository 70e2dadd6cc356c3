"""A plugin's loss, optimiser, schedule, noise, metric and stopping rule: in the recipe, in the run, in the card."""

from __future__ import annotations

import json

import pytest
from environments import HERE, call

from zoo.cards.card import Card

CARD = """\
schema: 1
name: toy
architecture: schnet
config: {cutoff: 4.0, channels: 16, num_layers: 1}
targets: {U0: {readout: energy, unit: eV, reference: fitted}}
domain: {elements: [H, C, N, O, F], pbc: false}
data: {dataset: qm9-sample}
recipe:
  losses: {U0: {kind: charbonnier, options: {eps: 0.2}}}
  optimizer: sgd
  optimizer_options: {momentum: 0.5}
  schedule: {kind: trapezoid}
  transforms: [{kind: noise, options: {sigma: 0.01}}]
  metrics: {close: {kind: within, of: U0, options: {limit: 1000.0}}}
  stopping: {kind: good-enough, options: {metric: close, below: -1.0}}
  lr: 0.001
  budget: {steps: 4}
  batch: {molecules: 8}
  eval_every: 2
"""


@pytest.fixture(scope="module")
def python(environment, wheel_of):
    return environment(wheel_of(HERE / "zoo-trainers"))


def test_a_run_with_parts_of_a_package(python, tmp_path):
    said = json.loads(call(python, "-m", "zoo", "plugins", "--json", cwd=tmp_path))
    record = next(r for r in said if r["name"] == "trainers")
    assert "loss charbonnier" in record["offers"]["training"] and len(record["offers"]["training"]) == 6
    (tmp_path / "card.yaml").write_text(CARD)
    call(python, "-m", "zoo", "train", "card.yaml", "--out", "run", "--quiet", cwd=tmp_path)
    training = Card.load(tmp_path / "run").training
    assert training.parts["loss charbonnier"] == "zoo-trainers 0.1.0" and len(training.parts) == 6
    assert training.best_validation["close"] == 1.0


@pytest.mark.slow
def test_a_dry_run_uses_them_and_a_wrong_name_is_told(python, environment, tmp_path):
    (tmp_path / "card.yaml").write_text(CARD)
    call(python, "-m", "zoo", "train", "card.yaml", "--out", "run", "--fast-dev-run", cwd=tmp_path)
    wrong = call(python, "-m", "zoo", "train", "card.yaml", "--out", "other", "--set", "optimizer=sdg", cwd=tmp_path,
                 status=2)
    assert "no optimizer is called 'sdg'; did you mean 'sgd'?" in wrong and "Traceback" not in wrong
    without = environment()
    wrong = call(without, "-m", "zoo", "train", "card.yaml", "--out", "other", cwd=tmp_path, status=2)
    assert "card.yaml:9: recipe.losses.U0.kind: no loss is called 'charbonnier'" in wrong
