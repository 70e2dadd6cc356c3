"""Weights of torch-geometric's ``DimeNetPlusPlus``, under the names of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_RENAMED = (
    (r"^emb\.emb\.", "embedding.element."),
    (r"^emb\.lin_rbf\.", "embedding.radial."),
    (r"^emb\.lin\.", "embedding.message."),
    (r"^interaction_blocks\.(\d+)\.lin\.", r"interactions.\1.skip."),
    (r"^interaction_blocks\.", "interactions."),
    (r"^output_blocks\.(\d+)\.lin_rbf\.", r"outputs.\1.radial."),
    (r"^output_blocks\.(\d+)\.lins\.", r"outputs.\1.layers."),
    (r"^output_blocks\.", "outputs."),
    (r"\.lin_rbf1\.", ".radial_down."),
    (r"\.lin_rbf2\.", ".radial_up."),
    (r"\.lin_sbf1\.", ".spherical_down."),
    (r"\.lin_sbf2\.", ".spherical_up."),
    (r"\.lin_kj\.", ".from_neighbour."),
    (r"\.lin_ji\.", ".from_self."),
    (r"\.lin_down\.", ".down."),
    (r"\.lin_up\.", ".up."),
    (r"\.layers_(before|after)_skip\.", r".\1_skip."),
    (r"\.lin1\.", ".first."),
    (r"\.lin2\.", ".second."),
)
_HEAD = re.compile(r"^output_blocks\.\d+\.lin\.weight$")


def from_pyg(state: Mapping[str, Tensor], cutoff: float) -> dict[str, Tensor]:
    """The backbone's state; frequencies become those of d instead of d/cutoff (Å)."""
    mapped = {}
    for name, value in state.items():
        if _HEAD.match(name):
            continue
        if name == "rbf.freq":
            mapped["bessel.frequencies"] = value / cutoff
            continue
        for pattern, new in _RENAMED:
            name = re.sub(pattern, new, name)
        mapped[name] = value
    return mapped


def head_from_pyg(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The linear layers at the end of all output blocks as one, on the features that the backbone concatenates."""
    heads = [name for name in state if _HEAD.match(name)]
    heads.sort(key=lambda name: int(name.split(".")[1]))
    return {"weight": torch.cat([state[name] for name in heads], dim=1)}
