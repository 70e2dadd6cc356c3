"""Write gemnet.safetensors with fairchem-core's GemNet-T. Run in the peer's environment (see ``make.py``)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch_geometric  # noqa: F401  first, or it takes the stand-ins for the real packages

sys.path.insert(0, str(Path(__file__).parent / "standins"))
# These two import trainers, data sets and downloads. Made but not run, they let GemNet-T be found without any of it.
for package in ("fairchem.core", "fairchem.core.models"):
    sys.modules[package] = importlib.util.module_from_spec(importlib.util.find_spec(package))

from fairchem.core.models.base import GraphData  # noqa: E402
from fairchem.core.models.gemnet import GemNetT  # noqa: E402
from fairchem.core.modules.scaling import ScaleFactor  # noqa: E402
from record import DTYPES, energies_and_forces, make_model, write  # noqa: E402
from structures import Batch, make_batch  # noqa: E402

COMMON = {
    "num_spherical": 7, "num_radial": 6, "num_before_skip": 1, "num_concat": 1, "rbf": {"name": "spherical_bessel"},
    "envelope": {"name": "polynomial", "exponent": 5}, "cbf": {"name": "spherical_harmonics"}, "extensive": True,
    "regress_forces": True, "direct_forces": False, "output_init": "HeOrthogonal", "otf_graph": True,
}  # fmt: skip
CONFIG = COMMON | {
    "cutoff": 4.0, "num_blocks": 2, "emb_size_atom": 16, "emb_size_edge": 20, "emb_size_trip": 12, "emb_size_rbf": 6,
    "emb_size_cbf": 5, "emb_size_bil_trip": 10, "num_after_skip": 2, "num_atom": 2, "num_elements": 20,
}  # fmt: skip
PAPER = COMMON | {
    "cutoff": 5.0, "num_blocks": 4, "emb_size_atom": 128, "emb_size_edge": 128, "emb_size_trip": 64,
    "emb_size_rbf": 16, "emb_size_cbf": 16, "emb_size_bil_trip": 64, "num_after_skip": 1, "num_atom": 2,
    "num_elements": 93,
}  # fmt: skip


class GivenEdges(GemNetT):
    """GemNet-T whose edges are handed in; the package's own neighbour list needs compiled extensions."""

    batch: Batch

    def generate_graph(self, data: SimpleNamespace) -> GraphData:
        batch = self.batch
        edge_index = torch.from_numpy(batch.edge_index)
        source, target = edge_index
        shift = torch.from_numpy(batch.edge_shift).to(data.pos.dtype)
        vector = data.pos[source] + shift - data.pos[target]
        of_edge = batch.batch[batch.edge_index[1]]
        cells = np.where(batch.pbc[:, None, None], batch.cell, np.eye(3))
        offsets = np.rint(np.einsum("ei,eij->ej", batch.edge_shift, np.linalg.inv(cells)[of_edge]))
        return GraphData(
            edge_index=edge_index,
            edge_distance=vector.norm(dim=1),
            edge_distance_vec=vector,
            cell_offsets=torch.from_numpy(offsets).long(),
            offset_distances=shift,
            neighbors=torch.from_numpy(np.bincount(of_edge)),
            batch_full=data.batch,
            atomic_numbers_full=data.atomic_numbers,
        )


def make() -> GivenEdges:
    model = GivenEdges(**CONFIG)
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, ScaleFactor):
            module.set_(float(0.6 + torch.rand((), generator=generator, dtype=torch.float32)))
    return model


def main() -> None:
    # Structures without an edge are refused by the package, so the single atom is left out.
    batch = make_batch(CONFIG["cutoff"], crystal=True, single_atom=False)
    GivenEdges.batch = batch

    outputs = {}
    for name, dtype in DTYPES.items():
        model = make_model(make, dtype, seed=5)

        def energy(z: torch.Tensor, pos: torch.Tensor, model=model) -> torch.Tensor:
            data = SimpleNamespace(pos=pos, atomic_numbers=z, batch=torch.from_numpy(batch.batch))
            return model(data)["energy"]

        outputs[name] = energies_and_forces(energy, batch, dtype)
    # The scaling factors are parameters of the package's that are not trained.
    paper = sum(p.numel() for p in GemNetT(**PAPER).parameters() if p.requires_grad)
    write(
        "gemnet",
        model=make_model(make, torch.float32, seed=5),
        config=CONFIG,
        batch=batch,
        outputs=outputs,
        packages=["fairchem-core", "torch-geometric"],
        paper_parameters={"config": PAPER, "parameters": paper},
        notes=[
            "torch_scatter and torch_sparse were stood in for by a few lines of torch; edges were handed in.",
            "The triplet model (GemNet-T); energies only from the atoms, forces by autograd.",
            "Atomic number z reads row z - 1 of the embedding.",
        ],
    )


if __name__ == "__main__":
    main()
