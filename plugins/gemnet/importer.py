"""Weights of fairchem-core's ``GemNetT``, under the names of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_RENAMED = (
    (r"^atom_emb\.embeddings\.", "atom_embedding."),
    (r"^edge_emb\.", "edge_embedding."),
    (r"^mlp_rbf3\.", "triplet_basis.radial."),
    (r"^mlp_cbf3\.", "triplet_basis.circular."),
    (r"^mlp_rbf_h\.", "radial_atom."),
    (r"^mlp_rbf_out\.", "radial_output."),
    (r"^out_blocks\.", "outputs."),
    (r"^int_blocks\.", "interactions."),
    (r"\.trip_interaction\.dense_ba\.", ".triplets.dense."),
    (r"\.trip_interaction\.mlp_rbf\.", ".triplets.radial."),
    (r"\.trip_interaction\.mlp_cbf\.", ".triplets.bilinear."),
    (r"\.trip_interaction\.down_projection\.", ".triplets.down."),
    (r"\.trip_interaction\.up_projection_ca\.", ".triplets.up."),
    (r"\.trip_interaction\.up_projection_ac\.", ".triplets.up_reverse."),
    (r"\.trip_interaction\.scale_rbf\.", ".triplets.scale_radial."),
    (r"\.trip_interaction\.scale_cbf_sum\.", ".triplets.scale_sum."),
    (r"\.dense_ca\.", ".dense."),
    (r"\.layers_(before|after)_skip\.", r".\1_skip."),
    (r"\.concat_layer\.", ".edge_embedding."),
    (r"\.residual_m\.", ".after_concat."),
    (r"\.dense_rbf\.", ".radial."),
    (r"(triplets\.scale_\w+)\.scale_factor$", r"\1.factor"),
    (r"\.scale_sum\.scale_factor$", ".scale.factor"),
    (r"\.dense_mlp\.0\.", ".first."),
    (r"\.dense_mlp\.1\.", ".second."),
    (r"\.linear\.weight$", ".weight"),
)
_HEAD = re.compile(r"^out_blocks\.\d+\.out_energy\.linear\.weight$")


def from_fairchem(state: Mapping[str, Tensor], cutoff: float) -> dict[str, Tensor]:
    """The backbone's state; frequencies become those of d instead of d/cutoff (Å).

    An unfitted scaling factor, which the package stores as 0, becomes 1.
    """
    mapped = {}
    for name, value in state.items():
        # `seq_energy` names the layers of an output block a second time.
        if _HEAD.match(name) or ".seq_energy." in name:
            continue
        if name.endswith("rbf.frequencies"):
            ours = "radial" if name.startswith("radial_basis") else "triplet_basis.circular_radial.functions"
            mapped[f"{ours}.frequencies"] = value / cutoff
            continue
        if name.endswith("scale_factor"):
            value = torch.where(value == 0, 1.0, value)
        name = re.sub(r"\.layers\.0\.", ".dense.", name)
        name = re.sub(r"\.layers\.(\d+)\.dense_mlp", lambda k: f".residuals.{int(k[1]) - 1}.dense_mlp", name)
        for pattern, new in _RENAMED:
            name = re.sub(pattern, new, name)
        mapped[name] = value
    return mapped


def head_from_fairchem(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The linear layers at the end of all output blocks as one, on the features that the backbone concatenates."""
    heads = [name for name in state if _HEAD.match(name)]
    heads.sort(key=lambda name: int(name.split(".")[1]))
    return {"weight": torch.cat([state[name] for name in heads], dim=1)}
