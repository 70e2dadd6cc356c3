"""Weights of other implementations, renamed. The maps are exact: the imported model gives the same numbers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_OF_INTERACTION = {
    "filter.0": "mlp.0",
    "filter.2": "mlp.2",
    "project": "conv.lin1",
    "out.0": "conv.lin2",
    "out.2": "lin",
}


def from_pyg(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Backbone state dict from that of torch-geometric's ``SchNet``; its head is ``lin1`` and ``lin2``."""
    renamed = {"embedding.weight": state["embedding.weight"]}
    layers = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("interactions."))
    for k in range(layers):
        for here, there in _OF_INTERACTION.items():
            for kind in ("weight", "bias"):
                if f"interactions.{k}.{there}.{kind}" in state:
                    renamed[f"interactions.{k}.{here}.{kind}"] = state[f"interactions.{k}.{there}.{kind}"]
    return renamed
