"""torch-geometric: SchNet, and DimeNet++ with its triplets handed in. Writes the weights for the other side."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from torch_geometric.nn.models import DimeNetPlusPlus, SchNet, dimenet
from worker import Side


def build(family: str, config: dict[str, Any], batch: dict[str, Tensor], exchange: Path, device: str) -> Side:
    batch = {k: v.to(device) for k, v in batch.items()}
    z, structure, edge_index = batch["z"], batch["batch"], batch["edge_index"]
    if family == "schnet":

        def given_edges(pos: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
            return edge_index, (pos[edge_index[0]] - pos[edge_index[1]]).norm(dim=-1)

        model = SchNet(**config, interaction_graph=given_edges).to(device)
    else:
        source, target = edge_index
        kj, ji = batch["triplet_kj"], batch["triplet_ji"]
        indices = (target, source, target[ji], source[ji], source[kj], kj, ji)
        dimenet.radius_graph = lambda *_, **__: edge_index
        dimenet.triplets = lambda *_, **__: indices
        model = DimeNetPlusPlus(**config, output_initializer="glorot_orthogonal").to(device)
    save_file({k: v.cpu().contiguous().clone() for k, v in model.state_dict().items()}, exchange)

    def energy(pos: Tensor) -> Tensor:
        return model(z, pos, structure).reshape(-1)

    return Side(model=model, energy=energy, versions={"torch-geometric": version("torch-geometric")})
