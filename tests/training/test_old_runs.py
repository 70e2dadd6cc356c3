"""A run that an older version began goes on with this one, and ends with the same weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from zoo.training import train

OLD = Path(__file__).resolve().parents[1] / "formats" / "run-1"


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(OLD, folder, ignore=shutil.ignore_patterns("end", "README.md"))
    train(OLD / "run.yaml", out=folder, device="cpu", resume=True, quiet=True, measure=False)
    return folder


@pytest.mark.parametrize("file", ["model.safetensors", "ema.safetensors"])
def test_an_old_run_ends_with_the_weights_that_it_had_then(resumed, file):
    """Bitwise where torch and the processor are the same; others round sums differently, so 1e-6 is allowed."""
    then = load_file(OLD / "end" / file)
    now = load_file(resumed / "checkpoints" / "step-000000008" / file)
    before = load_file(OLD / "checkpoints" / "step-000000004" / file)
    assert now.keys() == then.keys()
    for name, value in then.items():
        assert now[name].dtype == value.dtype
        assert (now[name] - value).abs().max() <= 1e-6 * value.abs().max(), name
    # The bound is far below what four steps change.
    assert max(((value - before[name]).abs().max() / value.abs().max()).item() for name, value in then.items()) > 1e-3


def test_it_went_on_from_the_checkpoint(resumed):
    events = [json.loads(line) for line in (resumed / "metrics.jsonl").read_text().splitlines()]
    kept = (OLD / "metrics.jsonl").read_text().splitlines()
    assert events[: len(kept)] == [json.loads(line) for line in kept]
    assert [event["step"] for event in events[len(kept):] if event["event"] == "evaluate"] == [8]
    assert (resumed / "card.yaml").exists() and (resumed / "model.safetensors").exists()
