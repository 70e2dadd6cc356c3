"""Write schnet.safetensors with torch-geometric's SchNet. Run in the peer's environment (see ``make.py``)."""

from __future__ import annotations

import torch
from record import DTYPES, energies_and_forces, make_model, write
from structures import make_batch
from torch_geometric.nn.models import SchNet

CONFIG = {"hidden_channels": 16, "num_filters": 24, "num_interactions": 2, "num_gaussians": 12, "cutoff": 4.0}
PAPER = {"hidden_channels": 128, "num_filters": 128, "num_interactions": 6, "num_gaussians": 50, "cutoff": 10.0}


def main() -> None:
    batch = make_batch(CONFIG["cutoff"], crystal=True)
    source, target = torch.from_numpy(batch.edge_index)
    structure = torch.from_numpy(batch.batch)

    def given_edges(pos: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shift = torch.from_numpy(batch.edge_shift).to(pos.dtype)
        return torch.stack([source, target]), (pos[source] + shift - pos[target]).norm(dim=-1)

    def make() -> SchNet:
        return SchNet(**CONFIG, interaction_graph=given_edges)

    outputs = {}
    for name, dtype in DTYPES.items():
        model = make_model(make, dtype, seed=1)
        outputs[name] = energies_and_forces(lambda z, pos, model=model: model(z, pos, structure), batch, dtype)
    paper = sum(p.numel() for p in SchNet(**PAPER).parameters())
    write(
        "schnet",
        model=make_model(make, torch.float32, seed=1),
        config=CONFIG,
        batch=batch,
        outputs=outputs,
        packages=["torch-geometric"],
        paper_parameters={"config": PAPER, "parameters": paper},
        notes=["Edges were handed in through `interaction_graph`: the package's own radius_graph needs pyg-lib."],
    )


if __name__ == "__main__":
    main()
