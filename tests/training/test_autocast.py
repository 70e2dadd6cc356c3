"""``autocast: bf16`` runs with every family, and ends in a message where a network cannot."""

from __future__ import annotations

from pathlib import Path

import ase.build
import pytest
import torch
from tiny import run_trainer

import zoo
from zoo.data import Store
from zoo.errors import TrainingError
from zoo.graph.graph import Graph

MOLECULES = [ase.build.molecule(name) for name in ("CH3CH2OH", "C6H6", "H2O", "CH3COOH")] * 4


@pytest.mark.parametrize("name", ["schnet", "dimenet", "gemnet", "painn", "nequip"])
def test_every_family_trains_under_autocast(name: str) -> None:
    torch.manual_seed(0)
    model = zoo.create(name, preset="small", elements=["H", "C", "O"]).train()
    graph = Graph.from_atoms(MOLECULES)
    plain = model(graph, standardised=True)["energy"].detach()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(graph, standardised=True)["energy"]
    # Bfloat16 has eight bits.
    assert float((rounded.detach().float() - plain).abs().max()) < 0.1 * float(plain.abs().max())
    rounded.float().square().sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(bool(g.isfinite().all()) for g in gradients)


def test_a_network_that_cannot_is_named_in_an_error(store: Store, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: object, graph: Graph) -> torch.Tensor:
        raise RuntimeError("expected m1 and m2 to have the same dtype, but got: float != c10::BFloat16")

    monkeypatch.setattr("tiny.Tiny.forward", forward)
    with pytest.raises(TrainingError, match=r"cannot run in bfloat16: expected m1 .* Fix: leave out"):
        run_trainer(store, tmp_path / "run", steps=1, autocast="bf16")
