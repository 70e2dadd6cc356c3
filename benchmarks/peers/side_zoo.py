"""The zoo, with the other side's weights imported: both compute the same function.

The graph holds edges, as batches of the training loop do. Everything else that is derived from them (pairs of opposite
edges, tables of neighbours) is made anew in every step, inside the clock, although triplets are handed to the peers.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor
from worker import Side

from zoo.graph.graph import Graph
from zoo.loading.importing import import_state


def build(family: str, config: dict[str, Any], batch: dict[str, Tensor], exchange: Path, device: str) -> Side:
    model = import_state(config["importer"], load_file(exchange), elements=["H", "C", "N", "O", "F"],
                         config=config["given"]).to(device)
    graph = Graph.from_tensors(batch["z"], batch["pos"], n_atoms=batch["n_atoms"])
    graph = graph.replace(edge_index=batch["edge_index"], cutoff=model.backbone.cutoff).to(device)
    name = model.energy_target

    def fresh(pos: Tensor) -> Graph:
        return graph.replace(pos=pos, edge_index=graph.edge_index)  # and nothing derived from the edges

    def energy(pos: Tensor) -> Tensor:
        return model(fresh(pos), standardised=True)[name]

    def both(pos: Tensor, training: bool) -> tuple[Tensor, Tensor]:
        out = model(fresh(pos), derivatives=("forces",), standardised=True)
        return out[name], out["forces"]

    return Side(model=model, energy=energy, both=both, versions={"geometric-zoo": version("geometric-zoo")})
