"""Write sevennet-*.safetensors with the sevenn package. Run in the peer's environment.

``state.*`` and the configuration are what a checkpoint holds. The models with weights that people use are of sevenn
0.9, so most are written as that release did: radial weights in the order of the sources, some couplings with the
opposite sign, older names. sevenn itself reads them again before they are kept.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import sevenn._keys as KEY
import torch
from e3nn.o3 import wigner_3j
from record import DTYPES, energies_and_derivatives, make_model, write
from sevenn._const import DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG
from sevenn.checkpoint import SevenNetCheckpoint
from sevenn.model_build import build_E3_equivariant_model
from structures import Batch, make_batch

TYPES = {6: 0, 1: 1, 7: 2, 8: 3, 14: 4}  # by symbol
SHIFTS = [-1.42, -0.51, 0.37, 2.11, -0.08]
CUTOFF = 4.0
BASE: dict[str, Any] = {
    "_model_type": "E3_equivariant_model", "version": "0.9.1", "interaction_type": "nequip", "cutoff": CUTOFF,
    "channel": 5, "lmax": 2, "is_parity": False, "num_convolution_layer": 3, "weight_nn_hidden_neurons": [6, 6],
    "irreps_manual": ["5x0e", "5x0e+4x1e+3x2e", "5x0e+4x1e+3x2e", "5x0e"],
    "radial_basis": {"radial_basis_name": "bessel", "bessel_basis_num": 8},
    "cutoff_function": {"cutoff_function_name": "XPLOR", "cutoff_on": 3.2},
    "self_connection_type": "linear", "conv_denominator": [3.5, 3.0, 4.0], "train_denominator": False,
    "_normalize_sph": True, "shift": SHIFTS, "scale": [1.25] * 5, "train_shift_scale": False,
    "_number_of_species": 5, "chemical_species": ["C", "H", "N", "O", "Si"],
}  # fmt: skip
MODAL = {
    "use_modality": True, "_number_of_modalities": 2, "_modal_map": {"R2SCAN": 0, "PBE": 1},
    "use_modal_node_embedding": False, "use_modal_self_inter_intro": True, "use_modal_self_inter_outro": True,
    "use_modal_output_block": True, "use_modal_wise_shift": True, "use_modal_wise_scale": False,
    "shift": [SHIFTS, [0.2, -3.0, 1.1, -0.7, 0.4]], "version": "0.9.4",
}  # fmt: skip
L3 = {
    "version": "0.13.0", "lmax": 3, "irreps_manual": ["5x0e", "5x0e+3x1e+2x2e+2x3e", "5x0e+3x1e+2x2e+2x3e", "5x0e"],
    "cutoff_function": {"cutoff_function_name": "poly_cut", "poly_cut_p_value": 6},
}  # fmt: skip
OLD_NAMES = {
    "edge_embedding": "EdgeEmbedding", "reduce_input_to_hidden": "reducing nn input to hidden",
    "reduce_hidden_to_energy": "reducing nn hidden to energy", "rescale_atomic_energy": "rescale atomic energy",
}  # fmt: skip
OLD_BLOCKS = ("self_connection_intro", "convolution", "self_interaction_2", "equivariant_gate")


def make(config: dict[str, Any]) -> torch.nn.Module:
    """The package's model, without the last step, which takes derivatives itself."""
    full = DEFAULT_E3_EQUIVARIANT_MODEL_CONFIG | config | {"_type_map": TYPES}
    model = build_E3_equivariant_model(full)
    model.delete_module_by_key("force_output")
    model.key_grad = None
    return model


def energy(model: torch.nn.Module, batch: Batch, vectors: torch.Tensor, modal: str | None) -> torch.Tensor:
    source, target = torch.from_numpy(batch.edge_index)
    data = Data({
        KEY.NODE_FEATURE: torch.from_numpy(batch.z),
        KEY.ATOMIC_NUMBERS: torch.from_numpy(batch.z),
        KEY.EDGE_IDX: torch.stack([target, source]),
        KEY.EDGE_VEC: vectors,
        KEY.BATCH: torch.from_numpy(batch.batch),
        KEY.DATA_MODALITY: [modal] * len(batch.names),
    })
    return model(data)[KEY.PRED_TOTAL_ENERGY]


class Data(dict):
    """Its ``x`` is looked at for a device."""

    @property
    def x(self) -> torch.Tensor:
        return self[KEY.EDGE_VEC]


def random_model(config: dict[str, Any], dtype: torch.dtype) -> torch.nn.Module:
    """Random weights, but one scale for all elements, as every published model has."""
    model = make_model(lambda: make(config), dtype, seed=4).to(dtype)
    with torch.no_grad():
        model._modules["rescale_atomic_energy"].scale.fill_(1.25)
    return model


def old(model: torch.nn.Module, state: dict[str, torch.Tensor], *, names: bool) -> dict[str, torch.Tensor]:
    """The state as sevenn before 0.11 wrote it; with names of before April 2024."""
    state = {key: value.clone() for key, value in state.items()}
    for k in range(BASE["num_convolution_layer"]):
        convolution = model._modules[f"{k}_convolution"]
        irreps = convolution.convolution_kwargs
        before = [instruction[:3] for instruction in convolution._instructions_before_sort]
        after = sorted(before, key=lambda instruction: instruction[2])
        key = f"{k}_convolution.weight_nn.layer2.weight"
        columns = dict(zip(after, state[key].split([irreps["irreps_in1"][i].mul for i, _, _ in after], 1)))
        moved = []
        for path in before:
            degrees = tuple(irreps[f"irreps_{side}"][n].ir.l for side, n in zip(("in1", "in2", "out"), path))
            flipped = sum(degrees) % 4 == 1 and min(degrees) > 0
            moved.append(-columns[path] if flipped else columns[path])
            if flipped:
                name = "_w3j_" + "_".join(map(str, degrees))
                whole = next(other for other in state if other.startswith(f"{k}_conv") and other.endswith(name))
                state[whole] = -wigner_3j(*degrees)
        state[key] = torch.cat(moved, 1)
    return {_old_name(key) if names else key: value for key, value in state.items()}


def _old_name(key: str) -> str:
    module, _, rest = key.partition(".")
    block = module[2:]
    module = OLD_NAMES.get(module, module.replace("_", " ") if block in OLD_BLOCKS else module)
    return f"{module}.{rest}".replace("denominator", "denumerator")


def read_again(config: dict[str, Any], state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The package's own reading of a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pth"
        torch.save({"config": config | {"_type_map": TYPES}, "model_state_dict": state}, path)
        model = SevenNetCheckpoint(path).build_model()
    model.delete_module_by_key("force_output")
    model.key_grad = None
    return model


def record(name: str, config: dict[str, Any], *, modal: str | None = None, old_names: bool = False) -> None:
    batch = make_batch(CUTOFF, crystal=True)
    outputs = {}
    for label, dtype in DTYPES.items():
        model = random_model(config, dtype)
        model.replace_module("onehot_idx_to_onehot", Elements(dtype))
        outputs[label] = energies_and_derivatives(
            lambda vectors, model=model: energy(model, batch, vectors, modal), batch, dtype
        )
    model = random_model(config, torch.float32)
    state = model.state_dict()
    if config["version"].startswith("0.9"):
        state = old(model, state, names=old_names)
        kept = {k: v for k, v in config.items() if not (old_names and k == "_normalize_sph")}
    else:
        kept = config
    again = energies_and_derivatives(
        lambda vectors: energy(read_again(kept, state), batch, vectors, modal), batch, torch.float32
    )
    for key, value in again.items():
        assert torch.allclose(value, outputs["float32"][key], atol=2e-5, rtol=1e-5), (name, key)
    write(
        name,
        model=model,
        config=kept | {"_type_map": {str(z): n for z, n in TYPES.items()}},
        batch=batch,
        outputs=outputs,
        packages=["sevenn", "e3nn"],
        paper_parameters={},
        notes=["Edge k of the package runs from centre edge_index[0] to neighbour edge_index[1]: the reverse of here."],
        state=state,
        extra={"modality": modal},
    )


class Elements(torch.nn.Module):
    """The package's one-hot elements in the model's dtype; its own are float32 whatever the model is."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        types = data[KEY.NODE_FEATURE]
        one_hot = torch.nn.functional.one_hot(types, len(TYPES)).to(self.dtype)
        data[KEY.ATOM_TYPE] = types
        data[KEY.NODE_FEATURE] = data[KEY.NODE_ATTR] = one_hot
        return data


def main() -> None:
    record("sevennet-xplor", BASE)
    record("sevennet-unnormalised", BASE | {"_normalize_sph": False}, old_names=True)
    record("sevennet-l3", BASE | L3)
    record("sevennet-modal-pbe", BASE | MODAL, modal="PBE")
    record("sevennet-modal-r2scan", BASE | MODAL, modal="R2SCAN")


if __name__ == "__main__":
    main()
