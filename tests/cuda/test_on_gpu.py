"""What only a GPU can show: run by `make gpu`, skipped elsewhere."""

from __future__ import annotations

from pathlib import Path

import ase.build
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import zoo
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

FAMILIES = ("schnet", "dimenet", "gemnet", "painn", "nequip")


@pytest.mark.parametrize("family", FAMILIES)
def test_predictions_are_those_of_the_cpu(family: str) -> None:
    molecules = [ase.build.molecule(name) for name in ("CH3CH2OH", "C6H6", "H2O", "CH4")]
    cpu, gpu = (zoo.load(f"{family}-qm9", device=device).predict(molecules, derivatives=["forces"])
                for device in ("cpu", "cuda"))
    for expected, found in zip(cpu, gpu, strict=True):
        for name, value in expected.items():
            assert np.allclose(found[name], value, rtol=1e-5, atol=1e-4), name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_repeatable_run_is_bitwise_the_same(family: str, tmp_path: Path) -> None:
    changes = ["data={dataset: qm9-sample}", "batch={molecules: 32}", "budget={steps: 20}", "eval_every=20",
               "deterministic=true"]
    weights = []
    for name in ("one", "two"):
        folder = zoo.train(f"{family}-qm9", out=tmp_path / name, overrides=changes, device="cuda", quiet=True,
                           measure=False)
        weights.append(load_file(folder / "model.safetensors"))
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_edges_are_those_of_the_cpu() -> None:
    frames = [ase.build.bulk("Si", cubic=True), ase.build.molecule("C6H6"), ase.build.bulk("Cu") * (3, 3, 3)]
    found = [add_edges(Graph.from_atoms(frames, dtype=torch.float64, device=device), 5.0, method="cells")
             for device in ("cpu", "cuda")]
    assert torch.equal(found[0].edge_index, found[1].edge_index.cpu())
    assert torch.equal(found[0].edge_shift, found[1].edge_shift.cpu())
