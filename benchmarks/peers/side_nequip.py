"""nequip: NequIPGNNModel, eager. Writes the weights for the other side."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state
from safetensors.torch import save_file
from torch import Tensor
from worker import Side

NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}


def build(family: str, config: dict[str, Any], batch: dict[str, Tensor], exchange: Path, device: str) -> Side:
    set_global_state()
    torch.set_default_dtype(torch.float32)
    model = NequIPGNNModel(seed=0, model_dtype="float32", do_derivatives=False, **config).to(device)
    save_file({k: v.cpu().contiguous() for k, v in model.state_dict().items()}, exchange)
    types = torch.zeros(10, dtype=torch.long)
    types[[NUMBERS[name] for name in config["type_names"]]] = torch.arange(len(config["type_names"]))
    fixed = {
        "atom_types": types[batch["z"]].to(device),
        "batch": batch["batch"].to(device),
        "num_atoms": batch["n_atoms"].to(device),
        "edge_index": batch["edge_index"].flip(0).contiguous().to(device),
    }

    def energy(pos: Tensor) -> Tensor:
        return model(fixed | {"pos": pos})["total_energy"].reshape(-1).float()

    return Side(model=model, energy=energy, versions={p: version(p) for p in ("nequip", "e3nn")})
