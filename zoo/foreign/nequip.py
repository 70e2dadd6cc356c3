"""NequIP of the nequip package (0.17 and newer): flat e3nn weights to one matrix per irrep."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from zoo.errors import WeightsError
from zoo.foreign.state import ForeignState, Imported
from zoo.foreign.steerable import Irreps, Layer, O3Irrep, blocks, mismatch, natural

__all__ = ["nequip"]

_FIX = "Fix: check num_features and parity in --set."
# What the zoo derives itself: couplings, masks, empty weights of products that have none, unused biases.
_DERIVED = r".*\.output_mask|.*\._w3j_\w+|.*\.tp\.weight|.*\.equivariant_nonlin\..*|.*\.linear_\d\.bias|.*\b_empty"


def nequip(state: ForeignState) -> Imported:
    """Exact, features that no path leads from to the energy being left out: nequip keeps them, the zoo does not.

    What differs in convention: a linear map has one flat vector of weights there and a matrix per irrep here; the
    element's channel is the second index of the self-connection there and the first here; the Bessel weights are n
    there and the frequencies n π/c here; 1/sqrt(avg_num_neighbors) is applied to the features there and to the radial
    weights here; centre and neighbour of an edge stand the other way round.
    """
    name = "type_embed.embed_module.weight"
    state.strip(next((key.removesuffix(name) for key in state.tensors if key.endswith(name)), ""))
    state.drop(_DERIVED)
    embedding = state.take(name)
    cutoff = 1 / float(state.take("edge_norm._rmax_recip", ()))
    layers = _layers(state, embedding.shape[1])
    bessel = state.take("bessel_encode.bessel_weights").reshape(-1)
    trained = not torch.equal(bessel, torch.arange(1, len(bessel) + 1, dtype=bessel.dtype))
    neighbors = float(state.need("avg_num_neighbors", "16.0"))
    radial = [state.tensors[key] for key in _weights_of(state, "layer0_convnet.conv.edge_mlp.mlp")]
    config = {
        "cutoff": cutoff,
        "num_layers": len(layers),
        "lmax": layers[0].lmax,
        "parity": bool(state.given["parity"]),
        "num_features": state.given["num_features"],
        "num_bessel": len(bessel),
        "trainable_bessel": trained,
        "radial_depth": len(radial) - 1,
        "radial_width": radial[0].shape[1],
        "type_features": embedding.shape[1],
        "first_self_connection": "layer0_convnet.conv.sc.weight" in state.tensors,
        "avg_num_neighbors": neighbors,
    }
    backbone = {
        "embedding.weight": embedding,
        "avg_num_neighbors": torch.tensor(neighbors, dtype=torch.float64),
    }
    if trained:
        backbone["bessel.frequencies"] = bessel * (math.pi / cutoff)
    kept = _kept(layers)
    for k, layer in enumerate(layers):
        backbone |= _layer(state, k, layer, kept[k], kept[k + 1], embedding.shape[1])
    scale, shift = _scale_and_shift(state, embedding.shape[0])
    return Imported(
        architecture="nequip",
        config=config,
        backbone=backbone,
        head=_head(state),
        scale=scale,
        by_element=True,
        element_shift=shift,
    )


def _layers(state: ForeignState, num_embedded: int) -> list[Layer]:
    """Irreps around each layer, by nequip's rule: all that are asked for and that a path reaches."""
    features, parity = state.need("num_features", "32"), bool(state.need("parity", "false"))
    count = state.count(r"layer(\d+)_convnet\.")
    # Scalars times harmonics make one path per degree, so the first radial network tells lmax.
    first = state.tensors[_weights_of(state, "layer0_convnet.conv.edge_mlp.mlp")[-1]].shape[1]
    lmax = int(state.given.get("lmax", first // num_embedded - 1))
    per_degree = [features] * (lmax + 1) if isinstance(features, int) else list(features)
    if len(per_degree) != lmax + 1:
        raise WeightsError(f"nequip: num_features has {len(per_degree)} entries, and these weights have lmax = {lmax}. "
                           f"Fix: give {lmax + 1} numbers, one per degree, or a single one for all.")
    hidden = [O3Irrep(l, p) for l in range(lmax + 1) for p in ((1, -1) if parity else ((-1) ** l,))]
    layers: list[Layer] = []
    held: Irreps = {natural(0): num_embedded}
    for k in range(count):
        here = Layer(held, {}, lmax)
        reached = {path.target for source in held for path in here.products(source)}
        wanted = hidden if k < count - 1 else [natural(0)]
        out = {irrep: per_degree[irrep.l] for irrep in wanted if irrep in reached}
        layers.append(Layer(held, out, lmax))
        held = out
    return layers


def _kept(layers: list[Layer]) -> list[set[O3Irrep]]:
    """The irreps before the first layer and after each that a path leads from to the output."""
    kept = [set(layers[-1].irreps_out)]
    for layer in reversed(layers):
        kept.insert(0, {s for s in layer.irreps_in if kept[0] & {path.target for path in layer.products(s)}})
    return kept


def _layer(
    state: ForeignState, k: int, layer: Layer, kept_in: set[O3Irrep], kept_out: set[O3Irrep], attributes: int
) -> dict[str, Tensor]:
    here, there = f"layers.{k}", f"layer{k}_convnet.conv"
    targets = {natural(0), *kept_out}
    columns = _kept_scalars(layer, kept_out)
    backbone: dict[str, Tensor] = {}

    up = {irrep: (mul, mul) for irrep, mul in layer.irreps_in.items()}
    for irrep, matrix in _blocks(state, f"{there}.linear_1.weight", up).items():
        if irrep in kept_in:
            backbone[f"{here}.linear_up.weights.{irrep}"] = matrix

    down = {t: (mul, layer.before_gate[t]) for t, mul in layer.middle.items() if mul}
    found = _blocks(state, f"{there}.linear_2.weight", down)
    for irrep, matrix in found.items():
        if irrep in targets:
            backbone[f"{here}.linear_down.weights.{irrep}"] = matrix[:, columns] if irrep == natural(0) else matrix

    if f"{there}.sc.weight" in state.tensors:
        widths = layer.before_gate
        both = {i: (mul, attributes, widths[i]) for i, mul in layer.irreps_in.items() if i in widths}
        for irrep, block in _blocks(state, f"{there}.sc.weight", both).items():
            if irrep in kept_in and irrep in targets:
                matrix = block.transpose(0, 1)
                name = f"{here}.self_connection.weights.{irrep}"
                backbone[name] = matrix[..., columns] if irrep == natural(0) else matrix

    weights = [state.take(key) for key in _weights_of(state, f"{there}.edge_mlp.mlp")]
    if layer.num_weights != weights[-1].shape[1]:
        raise mismatch(f"nequip: layer {k}'s tensor product", weights[-1].shape[1], layer.num_weights, _FIX)
    stays = [path.source in kept_in and path.target in targets for path in layer.paths]
    weights[-1] = weights[-1][:, torch.cat([c for c, kept in zip(layer.columns(), stays) if kept])]
    return backbone | {f"{here}.radial.weights.{n}": weight for n, weight in enumerate(weights)}


def _kept_scalars(layer: Layer, kept_out: set[O3Irrep]) -> list[int]:
    """Columns of the even scalars before the gate: the layer's own, and the gates of what stays."""
    start = layer.irreps_out.get(natural(0), 0)
    columns = list(range(start)) if natural(0) in kept_out else []
    for irrep, mul in layer.gated.items():
        columns += range(start, start + mul) if irrep in kept_out else ()
        start += mul
    return columns


def _blocks(state: ForeignState, key: str, shapes: Mapping[O3Irrep, tuple[int, ...]]) -> dict[O3Irrep, Tensor]:
    return blocks(state.take(key), shapes, f"nequip: {key}", _FIX)


def _weights_of(state: ForeignState, prefix: str) -> list[str]:
    """Keys of a network's layers, first to last."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.weight")
    places = {key: int(match[1]) for key in state.tensors if (match := pattern.fullmatch(key))}
    return sorted(places, key=places.__getitem__)


def _head(state: ForeignState) -> list[tuple[Tensor, Tensor | None]]:
    """The readout's layers with their constant factors multiplied in: fan-in^(−1/2), and √2 after an activation."""
    keys: Iterable[str] = _weights_of(state, "per_atom_energy_readout.mlp_module.mlp")
    weights = [state.take(key) for key in keys]
    gains = [1.0] + [math.sqrt(2)] * (len(weights) - 1)
    return [(weight.T * (gain / math.sqrt(weight.shape[0])), None) for weight, gain in zip(weights, gains)]


def _scale_and_shift(state: ForeignState, num_types: int) -> tuple[float, Tensor | None]:
    scales = state.take("per_type_energy_scale_shift.scales").reshape(-1)
    shifts = state.take("per_type_energy_scale_shift.shifts").reshape(-1)
    if scales.numel() and not bool((scales == scales[0]).all()):
        raise WeightsError("nequip: energy scales differ from element to element, and the zoo has one scale for all. "
                           "Fix: import a model with one scale.")
    return float(scales[0]) if scales.numel() else 1.0, shifts.expand(num_types) if shifts.numel() else None
