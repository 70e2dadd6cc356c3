"""schnetpack: PaiNN with an Atomwise head. Writes the weights for the other side."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from schnetpack import properties
from schnetpack.atomistic import Atomwise, PairwiseDistances
from schnetpack.model import NeuralNetworkPotential
from schnetpack.nn import BesselRBF, CosineCutoff
from schnetpack.representation import PaiNN
from torch import Tensor
from worker import Side


def build(family: str, config: dict[str, Any], batch: dict[str, Tensor], exchange: Path, device: str) -> Side:
    representation = PaiNN(
        n_atom_basis=config["n_atom_basis"],
        n_interactions=config["n_interactions"],
        radial_basis=BesselRBF(config["n_rbf"], config["cutoff"]),
        cutoff_fn=CosineCutoff(config["cutoff"]),
    )
    head = Atomwise(n_in=config["n_atom_basis"], output_key="energy")
    model = NeuralNetworkPotential(representation, [PairwiseDistances()], [head]).to(device)
    save_file({k: v.cpu().contiguous() for k, v in model.state_dict().items()}, exchange)
    source, target = batch["edge_index"].to(device)
    fixed = {
        properties.Z: batch["z"].to(device),
        properties.idx_m: batch["batch"].to(device),
        properties.idx_i: target,
        properties.idx_j: source,
        properties.offsets: torch.zeros(len(source), 3, device=device),
    }

    def energy(pos: Tensor) -> Tensor:
        return model(fixed | {properties.R: pos})["energy"]

    return Side(model=model, energy=energy, versions={"schnetpack": version("schnetpack")})
