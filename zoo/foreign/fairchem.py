"""GemNet-T of fairchem-core 1.x (and of Open Catalyst before it)."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from zoo.errors import WeightsError
from zoo.foreign.state import ForeignState, Imported

__all__ = ["gemnet"]

_EMBEDDING = {
    "atom_embedding.weight": "atom_emb.embeddings.weight",
    "edge_embedding.dense.weight": "edge_emb.dense.linear.weight",
    "radial_atom.weight": "mlp_rbf_h.linear.weight",
    "radial_output.weight": "mlp_rbf_out.linear.weight",
    "triplet_basis.radial.weight": "mlp_rbf3.linear.weight",
    "triplet_basis.circular.weight": "mlp_cbf3.weight",
}
_INTERACTION = {
    "dense.weight": "dense_ca.linear.weight",
    "triplets.dense.weight": "trip_interaction.dense_ba.linear.weight",
    "triplets.radial.weight": "trip_interaction.mlp_rbf.linear.weight",
    "triplets.scale_radial.factor": "trip_interaction.scale_rbf.scale_factor",
    "triplets.down.weight": "trip_interaction.down_projection.linear.weight",
    "triplets.bilinear.weight": "trip_interaction.mlp_cbf.weight",
    "triplets.scale_sum.factor": "trip_interaction.scale_cbf_sum.scale_factor",
    "triplets.up.weight": "trip_interaction.up_projection_ca.linear.weight",
    "triplets.up_reverse.weight": "trip_interaction.up_projection_ac.linear.weight",
    "atom_update.radial.weight": "atom_update.dense_rbf.linear.weight",
    "atom_update.scale.factor": "atom_update.scale_sum.scale_factor",
    "atom_update.dense.weight": "atom_update.layers.0.linear.weight",
    "edge_embedding.dense.weight": "concat_layer.dense.linear.weight",
}
_FREQUENCIES = {
    "radial.frequencies": "radial_basis.rbf.frequencies",
    "triplet_basis.circular_radial.functions.frequencies": "cbf_basis3.radial_basis.rbf.frequencies",
}
# Where residual layers stand there, and the number of the first one.
_RESIDUALS = {
    "before_skip": ("layers_before_skip", 0),
    "after_skip": ("layers_after_skip", 0),
    "after_concat": ("residual_m", 0),
    "atom_update.residuals": ("atom_update.layers", 1),
}
_OUTPUT = {
    "radial.weight": "dense_rbf.linear.weight",
    "scale.factor": "scale_sum.scale_factor",
    "dense.weight": "layers.0.linear.weight",
}


def gemnet(state: ForeignState) -> Imported:
    """GemNet-T whose energy is the sum of atoms and whose forces are its gradient.

    The same model under other names, but for frequencies, which are n π there and n π/c here, and for scaling factors,
    where 0 means "not fitted" there, which acts as 1. Its circular basis has one trainable radial basis for all degrees
    where the paper has spherical Bessel functions: ``angular_radial: bessel`` here. The sum of one linear head per
    block is one linear head on the blocks' features side by side.
    """
    key = next((k for k in state.tensors if k.endswith("atom_emb.embeddings.weight")), "")
    state.strip(key.removesuffix("atom_emb.embeddings.weight"))
    if any(".out_forces." in k for k in state.tensors):
        raise WeightsError("a GemNet with direct_forces=True, and the zoo derives forces from the energy. "
                           "Fix: import a model trained with direct_forces=False.")
    cutoff = float(state.need("cutoff", "6.0"))
    # The output blocks' layers are registered under two names.
    state.drop(r"out_blocks\.\d+\.seq_energy\..*")
    backbone = {here: state.take(there) for here, there in _EMBEDDING.items()}
    for here, there in _FREQUENCIES.items():
        backbone[here] = state.take(there) / cutoff
    blocks = state.count(r"int_blocks\.(\d+)\.")
    numbers: dict[str, int] = {}
    for k in range(blocks):
        here, there = f"interactions.{k}", f"int_blocks.{k}"
        backbone |= {f"{here}.{a}": _taken(state, f"{there}.{b}") for a, b in _INTERACTION.items()}
        for ours, (theirs, first) in _RESIDUALS.items():
            numbers[ours] = _residuals(state, backbone, f"{here}.{ours}", f"{there}.{theirs}", first)
    head = []
    for k in range(blocks + 1):
        here, there = f"outputs.{k}", f"out_blocks.{k}"
        backbone |= {f"{here}.{a}": _taken(state, f"{there}.{b}") for a, b in _OUTPUT.items()}
        _residuals(state, backbone, f"{here}.residuals", f"{there}.layers", 1)
        head.append(state.take(f"{there}.out_energy.linear.weight"))
    config = _config(backbone) | {
        "cutoff": cutoff,
        "blocks": blocks,
        "before_skip": numbers["before_skip"],
        "after_skip": numbers["after_skip"],
        "concat": numbers["after_concat"],
        "atom": numbers["atom_update.residuals"],
        "quadruplets": False,
        "angular_radial": "bessel",
    }
    return Imported(architecture="gemnet", config=config, backbone=backbone, head=[(torch.cat(head, 1), None)])


def _taken(state: ForeignState, key: str) -> Tensor:
    value = state.take(key)
    return torch.where(value == 0, torch.ones_like(value), value) if key.endswith(".scale_factor") else value


def _residuals(state: ForeignState, backbone: dict[str, Tensor], here: str, there: str, first: int) -> int:
    number = state.count(re.escape(there) + r"\.(\d+)\.dense_mlp") - first
    for n in range(number):
        for ours, theirs in (("first", 0), ("second", 1)):
            name = f"{there}.{n + first}.dense_mlp.{theirs}.linear.weight"
            backbone[f"{here}.{n}.{ours}.weight"] = state.take(name)
    return max(number, 0)


def _config(backbone: dict[str, Tensor]) -> dict[str, int]:
    """Widths, read off the shapes."""
    basis, bilinear = backbone["triplet_basis.circular.weight"], backbone["interactions.0.triplets.bilinear.weight"]
    return {
        "num_spherical": basis.shape[0],
        "num_radial": basis.shape[1],
        "emb_cbf": basis.shape[2],
        "emb_rbf": backbone["radial_atom.weight"].shape[0],
        "emb_atom": backbone["atom_embedding.weight"].shape[1],
        "emb_edge": backbone["edge_embedding.dense.weight"].shape[0],
        "emb_trip": bilinear.shape[0],
        "bil_trip": bilinear.shape[2],
        "num_elements": backbone["atom_embedding.weight"].shape[0],
    }
