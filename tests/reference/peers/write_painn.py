"""Write painn.safetensors with schnetpack's PaiNN and Atomwise. Run in the peer's environment (see ``make.py``)."""

from __future__ import annotations

from typing import Any

import torch
from record import DTYPES, energies_and_forces, make_model, write
from schnetpack import properties
from schnetpack.atomistic import Atomwise, PairwiseDistances
from schnetpack.model import NeuralNetworkPotential
from schnetpack.nn import BesselRBF, CosineCutoff
from schnetpack.representation import PaiNN
from structures import make_batch

CONFIG = {"n_atom_basis": 16, "n_interactions": 3, "n_rbf": 10, "cutoff": 4.0, "n_hidden": None, "n_layers": 2}
PAPER = CONFIG | {"n_atom_basis": 128, "n_rbf": 20, "cutoff": 5.0}


def make(config: dict[str, Any]) -> NeuralNetworkPotential:
    representation = PaiNN(
        n_atom_basis=config["n_atom_basis"],
        n_interactions=config["n_interactions"],
        radial_basis=BesselRBF(config["n_rbf"], config["cutoff"]),
        cutoff_fn=CosineCutoff(config["cutoff"]),
    )
    head = Atomwise(
        n_in=config["n_atom_basis"],
        n_hidden=config["n_hidden"],
        n_layers=config["n_layers"],
        output_key="energy",
        per_atom_output_key="atom_energy",
    )
    return NeuralNetworkPotential(representation, [PairwiseDistances()], [head])


def main() -> None:
    batch = make_batch(CONFIG["cutoff"], crystal=True)
    source, target = torch.from_numpy(batch.edge_index)

    outputs = {}
    for name, dtype in DTYPES.items():
        model = make_model(lambda: make(CONFIG), dtype, seed=3)
        atomwise = {}

        def energy(z: torch.Tensor, pos: torch.Tensor, model=model, atomwise=atomwise) -> torch.Tensor:
            inputs = {
                properties.Z: z,
                properties.R: pos,
                properties.idx_m: torch.from_numpy(batch.batch),
                properties.idx_i: target,
                properties.idx_j: source,
                properties.offsets: torch.from_numpy(batch.edge_shift).to(pos.dtype),
            }
            model(inputs)
            atomwise["atom_energy"] = inputs["atom_energy"].reshape(-1)
            atomwise["scalars"] = inputs["scalar_representation"]
            atomwise["vectors"] = inputs["vector_representation"]
            return inputs["energy"]

        outputs[name] = energies_and_forces(energy, batch, dtype) | atomwise
    write(
        "painn",
        model=make_model(lambda: make(CONFIG), torch.float32, seed=3),
        config=CONFIG,
        batch=batch,
        outputs=outputs,
        packages=["schnetpack"],
        paper_parameters={
            "config": PAPER,
            "parameters": sum(p.numel() for p in make(PAPER).parameters()),
            "representation": sum(p.numel() for p in make(PAPER).representation.parameters()),
        },
        notes=[
            "schnetpack asks for Python 3.12 or newer; installed here without its dependencies, which came apart.",
            "output.*.vectors are (N, 3, channels): the Cartesian index comes first.",
        ],
    )


if __name__ == "__main__":
    main()
