"""Write nequip.safetensors and nequip-one-parity.safetensors with the nequip package. Run in the peer's environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from e3nn.nn import Gate
from e3nn.o3 import Linear, TensorProduct
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state
from record import DTYPES, energies_and_forces, make_model, write
from structures import Batch, make_batch

TYPES = {"H": 1, "C": 6, "N": 7, "O": 8, "Si": 14}
SHIFTS = {"H": -0.51, "C": -1.42, "N": 0.37, "O": 2.11, "Si": -0.08}
BASE = {
    "r_max": 4.0, "type_names": list(TYPES), "num_layers": 3, "l_max": 2, "num_bessels": 8,
    "polynomial_cutoff_p": 6, "radial_mlp_depth": 2, "radial_mlp_width": 12, "avg_num_neighbors": 7.5,
    "per_type_energy_scales": 1.3, "per_type_energy_shifts": SHIFTS, "do_derivatives": False,
}  # fmt: skip
CONFIGS = {
    # Odd scalars take three layers to appear and three more to be felt by the energy.
    "nequip": BASE | {"parity": True, "num_features": [6, 5, 4], "num_layers": 6},
    "nequip-one-parity": BASE
    | {"parity": False, "num_features": [12, 8, 5], "radial_mlp_depth": 1, "type_embed_num_features": 6,
       "bessel_trainable": True},
}  # fmt: skip
PAPER = BASE | {
    "type_names": ["H", "C", "N", "O", "F"], "num_layers": 5, "l_max": 3, "parity": True, "num_features": 64,
    "radial_mlp_width": 64, "bessel_trainable": True, "per_type_energy_scales": None, "per_type_energy_shifts": None,
}  # fmt: skip


def make(config: dict[str, Any]) -> torch.nn.Module:
    return NequIPGNNModel(seed=0, model_dtype=str(torch.get_default_dtype()).removeprefix("torch."), **config)


def anatomy(model: torch.nn.Module) -> dict[str, Any]:
    """Irreps and paths of every equivariant operation, in the order of their weights."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        if isinstance(module, Linear):
            paths = [[i.i_in, i.i_out, list(i.path_shape), float(i.path_weight)] for i in module.instructions]
            found[name] = {"linear": [str(module.irreps_in), str(module.irreps_out)], "paths": paths}
        elif isinstance(module, TensorProduct):
            paths = [
                [i.i_in1, i.i_in2, i.i_out, i.connection_mode, float(i.path_weight), list(i.path_shape)]
                for i in module.instructions
            ]
            irreps = [str(module.irreps_in1), str(module.irreps_in2), str(module.irreps_out)]
            found[name] = {"tensor_product": irreps, "paths": paths}
        elif isinstance(module, Gate):
            found[name] = {"gate": [str(module.irreps_in), str(module.irreps_out)]}
    return found


def inputs(batch: Batch, z: torch.Tensor, pos: torch.Tensor) -> dict[str, torch.Tensor]:
    """The package's data dictionary. Its edges run centre, neighbour: our target first. It wants integer shifts."""
    cells = np.where(batch.pbc[:, None, None], batch.cell, np.eye(3))
    inverse = np.linalg.inv(cells)[batch.batch[batch.edge_index[1]]]
    shift = np.rint(np.einsum("ei,eij->ej", batch.edge_shift, inverse))
    types = torch.tensor([list(TYPES.values()).index(number) for number in z.tolist()])
    return {
        "pos": pos,
        "atom_types": types,
        "batch": torch.from_numpy(batch.batch),
        "num_atoms": torch.bincount(torch.from_numpy(batch.batch)),
        "edge_index": torch.from_numpy(batch.edge_index).flip(0),
        "edge_cell_shift": torch.from_numpy(shift),
        "cell": torch.from_numpy(cells),
    }


def live_parameters(config: dict[str, Any]) -> int:
    """Number of weights whose gradient is not zero: those of features that no path leads from to the energy are."""
    torch.set_default_dtype(torch.float64)
    model = make(config)
    generator = torch.Generator().manual_seed(6)
    pos = 1.5 * torch.randn(6, 3, generator=generator)
    data = {
        "pos": pos,
        "atom_types": torch.arange(6) % len(config["type_names"]),
        "edge_index": torch.tensor([(i, j) for i in range(6) for j in range(6) if i != j]).T,
    }
    model(data)["total_energy"].sum().backward()
    torch.set_default_dtype(torch.float32)
    return sum(int((p.grad != 0).sum()) for p in model.parameters() if p.grad is not None)


def main() -> None:
    set_global_state()
    torch.set_default_dtype(torch.float32)
    batch = make_batch(BASE["r_max"], crystal=True)
    paper = {
        "config": PAPER,
        "parameters": sum(p.numel() for p in make(PAPER).parameters()),
        "live_parameters": live_parameters(PAPER),
    }
    for name, config in CONFIGS.items():
        outputs = {}
        for label, dtype in DTYPES.items():
            model = make_model(lambda config=config: make(config), dtype, seed=4)
            atomwise = {}

            def energy(z: torch.Tensor, pos: torch.Tensor, model=model, atomwise=atomwise) -> torch.Tensor:
                # The package keeps positions in float64 whatever the dtype of the weights.
                out = model(inputs(batch, z, pos.double()))
                atomwise["atom_energy"] = out["atomic_energy"].reshape(-1)
                return out["total_energy"]

            outputs[label] = energies_and_forces(energy, batch, dtype) | atomwise
        model = make_model(lambda config=config: make(config), torch.float32, seed=4)
        write(
            name,
            model=model,
            config=config,
            batch=batch,
            outputs=outputs,
            packages=["nequip", "e3nn"],
            paper_parameters=paper,
            notes=[
                "Edge k of the package runs from centre edge_index[0] to neighbour edge_index[1]: the reverse of here.",
                "total_energy holds per_type_energy_scales and _shifts, added in float64.",
            ],
            extra={"anatomy": anatomy(model), "types": TYPES, "live_parameters": live_parameters(config)},
        )


if __name__ == "__main__":
    main()
