"""SchNet and DimeNet++ of torch-geometric."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import WeightsError
from zoo.foreign.state import ForeignState, Imported

__all__ = ["dimenet", "schnet"]

_SCHNET_LAYERS = {
    "filter.0": "mlp.0",
    "filter.2": "mlp.2",
    "project": "conv.lin1",
    "out.0": "conv.lin2",
    "out.2": "lin",
}


def schnet(state: ForeignState) -> Imported:
    """The same model under other names. The last Gaussian centre is the cut-off; ``atomref`` becomes the references.

    ``mean`` and ``std`` of the class are Python numbers that no state dict holds: they come in as shift and scale.
    """
    if "atomic_mass" in state.tensors:
        raise WeightsError("a torch-geometric SchNet with dipole=True. Fix: import a model of an energy.")
    offset = state.take("distance_expansion.offset")
    backbone = {"embedding.weight": state.take("embedding.weight")}
    layers = state.count(r"interactions\.(\d+)\.")
    for k in range(layers):
        for here, there in _SCHNET_LAYERS.items():
            _rename(state, backbone, f"interactions.{k}.{here}", f"interactions.{k}.{there}")
        # One module under two names: the convolution holds the filter network too.
        state.drop(rf"interactions\.{k}\.conv\.nn\..*")
    atomref = state.take_if_any("atomref.weight")
    state.drop("initial_atomref")
    config = {
        "cutoff": float(offset[-1]),
        "channels": backbone["embedding.weight"].shape[1],
        "num_filters": backbone["interactions.0.project.weight"].shape[0],
        "num_layers": layers,
        "num_radial": offset.shape[0],
        "num_elements": backbone["embedding.weight"].shape[0],
    }
    head = [(state.take(f"{name}.weight"), state.take(f"{name}.bias")) for name in ("lin1", "lin2")]
    return Imported(
        architecture="schnet",
        config=config,
        backbone=backbone,
        head=head,
        activation="ssp",
        shift=None if atomref is None else atomref[:, 0],
    )


_DIMENET_LAYERS = {
    "radial_down": "lin_rbf1",
    "radial_up": "lin_rbf2",
    "spherical_down": "lin_sbf1",
    "spherical_up": "lin_sbf2",
    "from_neighbour": "lin_kj",
    "from_self": "lin_ji",
    "down": "lin_down",
    "up": "lin_up",
    "skip": "lin",
}


def dimenet(state: ForeignState) -> Imported:
    """The same model under other names, but for frequencies, which are n π there and n π/c here.

    Its sum of one linear head per block is one linear head on the blocks' features side by side.
    """
    cutoff = float(state.need("cutoff", "5.0"))
    frequencies = state.take("rbf.freq")
    backbone: dict[str, Tensor] = {"bessel.frequencies": frequencies / cutoff}
    for here, there in {"element": "emb", "radial": "lin_rbf", "message": "lin"}.items():
        _rename(state, backbone, f"embedding.{here}", f"emb.{there}")
    blocks = state.count(r"interaction_blocks\.(\d+)\.")
    if "interaction_blocks.0.W" in state.tensors:
        raise WeightsError("this is the first DimeNet, with a bilinear layer; the zoo's dimenet is DimeNet++. "
                           "Fix: import weights of DimeNetPlusPlus.")
    skips = {}
    for skip in ("before_skip", "after_skip"):
        skips[skip] = state.count(rf"interaction_blocks\.0\.layers_{skip}\.(\d+)\.")
    for k in range(blocks):
        here, there = f"interactions.{k}", f"interaction_blocks.{k}"
        for ours, theirs in _DIMENET_LAYERS.items():
            _rename(state, backbone, f"{here}.{ours}", f"{there}.{theirs}")
        for skip, number in skips.items():
            for n in range(number):
                _rename(state, backbone, f"{here}.{skip}.{n}.first", f"{there}.layers_{skip}.{n}.lin1")
                _rename(state, backbone, f"{here}.{skip}.{n}.second", f"{there}.layers_{skip}.{n}.lin2")
    output_layers = state.count(r"output_blocks\.0\.lins\.(\d+)\.")
    head = []
    for k in range(blocks + 1):
        here, there = f"outputs.{k}", f"output_blocks.{k}"
        _rename(state, backbone, f"{here}.radial", f"{there}.lin_rbf")
        _rename(state, backbone, f"{here}.up", f"{there}.lin_up")
        for n in range(output_layers):
            _rename(state, backbone, f"{here}.layers.{n}", f"{there}.lins.{n}")
        head.append(state.take(f"{there}.lin.weight"))
    if head[0].shape[0] != 1:
        raise WeightsError(f"a DimeNet++ with {head[0].shape[0]} outputs. Fix: import a model of one energy.")
    basis = backbone["interactions.0.spherical_down.weight"]
    config = {
        "cutoff": cutoff,
        "hidden": backbone["embedding.element.weight"].shape[1],
        "blocks": blocks,
        "int_emb": backbone["interactions.0.spherical_up.weight"].shape[0],
        "basis_emb": basis.shape[0],
        "out_emb": backbone["outputs.0.up.weight"].shape[0],
        "num_spherical": basis.shape[1] // frequencies.shape[0],
        "num_radial": frequencies.shape[0],
        **skips,
        "output_layers": output_layers,
        "num_elements": backbone["embedding.element.weight"].shape[0],
    }
    return Imported(architecture="dimenet", config=config, backbone=backbone, head=[(torch.cat(head, 1), None)])


def _rename(state: ForeignState, backbone: dict[str, Tensor], here: str, there: str) -> None:
    """Weight, and bias where there is one."""
    backbone[f"{here}.weight"] = state.take(f"{there}.weight")
    bias = state.take_if_any(f"{there}.bias")
    if bias is not None:
        backbone[f"{here}.bias"] = bias
