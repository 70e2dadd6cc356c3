"""Weights of other implementations, renamed. The maps are exact: the imported model gives the same numbers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def from_schnetpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Backbone state dict from that of schnetpack's ``PaiNN`` (keys from ``embedding.weight`` on, filters unshared).

    schnetpack makes the filters of all layers with one dense layer; here each layer owns its rows.
    """
    width = 3 * state["embedding.weight"].shape[1]
    layers = state["filter_net.weight"].shape[0] // width
    renamed = {"embedding.weight": state["embedding.weight"]}
    for k in range(layers):
        inter, intra = f"interactions.{k}.interatomic_context_net", f"mixing.{k}.intraatomic_context_net"
        for kind in ("weight", "bias"):
            renamed[f"messages.{k}.filter.{kind}"] = state[f"filter_net.{kind}"][k * width : (k + 1) * width]
            for here, there in ((0, 0), (2, 1)):
                renamed[f"messages.{k}.phi.{here}.{kind}"] = state[f"{inter}.{there}.{kind}"]
                renamed[f"updates.{k}.a.{here}.{kind}"] = state[f"{intra}.{there}.{kind}"]
        renamed[f"updates.{k}.mix.weight"] = state[f"mixing.{k}.mu_channel_mix.weight"]
    return renamed
