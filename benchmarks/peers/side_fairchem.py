"""fairchem-core: GemNet-T with edges, triplets and their orders handed in. Writes the weights for the other side."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch_geometric  # noqa: F401  first, or it takes the stand-ins for the real packages
from safetensors.torch import save_file
from torch import Tensor
from worker import Side

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "reference" / "peers" / "standins"))
for package in ("fairchem.core", "fairchem.core.models"):
    sys.modules[package] = importlib.util.module_from_spec(importlib.util.find_spec(package))

from fairchem.core.models.base import GraphData  # noqa: E402
from fairchem.core.models.gemnet import GemNetT  # noqa: E402
from fairchem.core.modules.scaling import ScaleFactor  # noqa: E402


class Given(GemNetT):
    """Finds its indices once, from edges handed in; distances and directions anew each time."""

    indices: tuple | None = None
    batch: dict[str, Tensor]

    def generate_graph(self, data: SimpleNamespace) -> GraphData:
        edge_index = self.batch["edge_index"]
        vector = data.pos[edge_index[0]] - data.pos[edge_index[1]]
        return GraphData(
            edge_index=edge_index,
            edge_distance=vector.norm(dim=1),
            edge_distance_vec=vector,
            cell_offsets=torch.zeros_like(vector, dtype=torch.long),
            offset_distances=torch.zeros_like(vector),
            neighbors=torch.bincount(self.batch["batch"][edge_index[1]]),
            batch_full=data.batch,
            atomic_numbers_full=data.atomic_numbers,
        )

    def generate_interaction_graph(self, data: SimpleNamespace) -> tuple:
        if self.indices is None:
            found = super().generate_interaction_graph(data)
            self.indices = (found[0], found[1], *found[4:])
        edge_index, neighbors, *triplets = self.indices
        vector = data.pos[edge_index[1]] - data.pos[edge_index[0]]
        distance = vector.norm(dim=1)
        return edge_index, neighbors, distance, vector / distance[:, None], *triplets


def build(family: str, config: dict[str, Any], batch: dict[str, Tensor], exchange: Path, device: str) -> Side:
    Given.batch = {k: v.to(device) for k, v in batch.items()}
    # regress_forces=False keeps the model from differentiating by itself: the clock does, as for every side.
    model = Given(**config, regress_forces=False, direct_forces=False, otf_graph=True).to(device)
    for module in model.modules():
        if isinstance(module, ScaleFactor):
            module.set_(1.0)
    save_file({k: v.cpu().contiguous().clone() for k, v in model.state_dict().items()}, exchange)
    z, structure = Given.batch["z"], Given.batch["batch"]

    def energy(pos: Tensor) -> Tensor:
        return model(SimpleNamespace(pos=pos, atomic_numbers=z, batch=structure))["energy"].reshape(-1)

    return Side(model=model, energy=energy, versions={"fairchem-core": version("fairchem-core")})
