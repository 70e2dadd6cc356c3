"""PaiNN of schnetpack."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.errors import WeightsError
from zoo.foreign.state import ForeignState, Imported

__all__ = ["painn"]

_REPRESENTATION = "representation."


def painn(state: ForeignState) -> Imported:
    """The same model under other names. schnetpack makes the filters of all layers with one dense layer; here each
    layer owns its rows, and filters that are shared there are repeated.

    ``mean`` and ``atomref`` of an ``AddOffsets`` postprocessor become the references, as for an extensive property.
    """
    _strip_checkpoint_prefix(state)
    r = _REPRESENTATION
    backbone = {"embedding.weight": state.take(f"{r}embedding.weight")}
    elements, channels = backbone["embedding.weight"].shape
    layers = state.count(r"representation\.interactions\.(\d+)\.")
    filters = {kind: state.take(f"{r}filter_net.{kind}") for kind in ("weight", "bias")}
    shared = filters["weight"].shape[0] == 3 * channels
    for k in range(layers):
        inter, intra = f"{r}interactions.{k}.interatomic_context_net", f"{r}mixing.{k}.intraatomic_context_net"
        for kind in ("weight", "bias"):
            rows = filters[kind] if shared else filters[kind][3 * channels * k : 3 * channels * (k + 1)]
            backbone[f"messages.{k}.filter.{kind}"] = rows.clone()
            for here, there in ((0, 0), (2, 1)):
                backbone[f"messages.{k}.phi.{here}.{kind}"] = state.take(f"{inter}.{there}.{kind}")
                backbone[f"updates.{k}.a.{here}.{kind}"] = state.take(f"{intra}.{there}.{kind}")
        backbone[f"updates.{k}.mix.weight"] = state.take(f"{r}mixing.{k}.mu_channel_mix.weight")
    cutoff = float(state.take(f"{r}cutoff_fn.cutoff"))
    config = {
        "cutoff": cutoff,
        "channels": channels,
        "num_layers": layers,
        "num_radial": filters["weight"].shape[1],
        "radial": _radial_basis(state, cutoff),
        "num_elements": elements,
    }
    return Imported(architecture="painn", config=config, backbone=backbone, head=_head(state), shift=_offsets(state))


def _strip_checkpoint_prefix(state: ForeignState) -> None:
    key = next((k for k in state.tensors if k.endswith(f"{_REPRESENTATION}embedding.weight")), None)
    if key is not None:
        state.strip(key.removesuffix(f"{_REPRESENTATION}embedding.weight"))


def _radial_basis(state: ForeignState, cutoff: float) -> str:
    """Which basis it is, and that it is one of the zoo's: centres and frequencies are no weights here."""
    basis = f"{_REPRESENTATION}radial_basis."
    frequencies = state.take_if_any(f"{basis}freqs")
    if frequencies is not None:
        expected = torch.arange(1, len(frequencies) + 1, dtype=torch.float64) * (torch.pi / cutoff)
        _require(torch.allclose(frequencies, expected, rtol=1e-6), "Bessel frequencies other than n π/cutoff")
        return "bessel"
    offsets, widths = state.take(f"{basis}offsets"), state.take(f"{basis}widths")
    expected = torch.linspace(0, cutoff, len(offsets), dtype=torch.float64)
    _require(torch.allclose(offsets, expected, atol=1e-5), "Gaussians that are not evenly spaced from 0 to the cut-off")
    same = torch.allclose(widths, expected[1].expand_as(widths), rtol=1e-4)
    _require(same, "Gaussians whose width is not their spacing")
    return "gaussian"


def _head(state: ForeignState) -> list[tuple[Tensor, Tensor]]:
    module = next((k.split(".")[1] for k in state.tensors if k.startswith("output_modules.")), "0")
    prefix = f"output_modules.{module}.outnet."
    layers = state.count(prefix.replace(".", r"\.") + r"(\d+)\.")
    head = [(state.take(f"{prefix}{k}.weight"), state.take(f"{prefix}{k}.bias")) for k in range(layers)]
    _require(bool(head) and head[-1][0].shape[0] == 1, "a head that is not Atomwise with one output")
    return head


def _offsets(state: ForeignState) -> Tensor | None:
    keys = [k.removesuffix("mean") for k in state.tensors if k.startswith("postprocessors.") and k.endswith(".mean")]
    if not keys:
        return None
    mean, atomref = state.take(f"{keys[0]}mean"), state.take_if_any(f"{keys[0]}atomref")
    return mean.reshape(1) + (torch.zeros(_Z, dtype=mean.dtype) if atomref is None else atomref.reshape(-1))


_Z = 119


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise WeightsError(f"schnetpack-painn: {what}: the zoo's painn has no such option. "
                           "Fix: import a model without it.")
