"""SevenNet: checkpoints of the sevenn package, read without running anything in them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.errors import WeightsError
from zoo.foreign.inert import read_inert
from zoo.foreign.state import ForeignState, Imported
from zoo.foreign.steerable import Irreps, Layer, O3Irrep, blocks, mismatch, natural

__all__ = ["read", "sevennet"]

_FIX = "Fix: give a checkpoint of sevenn 0.9 or newer with NequIP-type layers, as its authors published it."
_SILU_SCALE = 1.6791767923989418  # e3nn's, by which its radial networks multiply every activation
# What the zoo derives itself: masks, and empty weights of operations that have none.
_DERIVED = r".*\.output_mask|.*\.linear\.bias|.*\.convolution\.weight|.*_equivariant_gate\..*"
_OPTIONS = {
    "_model_type": "E3_equivariant_model",
    "interaction_type": "nequip",
    "use_bias_in_linear": False,
    "readout_as_fcn": False,
    "act_radial": "silu",
    "act_scalar": {"e": "silu", "o": "tanh"},
    "act_gate": {"e": "silu", "o": "tanh"},
    "is_parity": False,
    "self_connection_type": "linear",
    "lmax_edge": -1,
    "lmax_node": -1,
    "use_modal_node_embedding": False,
}
"""Options of sevenn, and the one value of each that this map is for; absent ones have it."""


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by the names that sevenn 0.11 gives them, and the configuration.

    Raises:
        WeightsError: no checkpoint of sevenn.
    """
    content = read_inert(path)
    config = content.get("config") if isinstance(content, Mapping) else None
    state = content.get("model_state_dict") if isinstance(content, Mapping) else None
    if not isinstance(config, Mapping) or not isinstance(state, Mapping) or "version" not in config:
        raise WeightsError(f"{path} is no checkpoint of sevenn: it lacks 'config' or 'model_state_dict'. {_FIX}")
    tensors = {_renamed(str(key)): value for key, value in state.items() if isinstance(value, Tensor)}
    return tensors, dict(config)


def _renamed(key: str) -> str:
    """Names of before April 2024: "0 self connection intro.…", "EdgeEmbedding.…", "denumerator"."""
    module, _, rest = key.partition(".")
    module = {
        "EdgeEmbedding": "edge_embedding",
        "reducing nn input to hidden": "reduce_input_to_hidden",
        "reducing nn hidden to energy": "reduce_hidden_to_energy",
        "rescale atomic energy": "rescale_atomic_energy",
    }.get(module, module.replace(" ", "_"))
    return f"{module}.{rest}".replace("denumerator", "denominator")


def sevennet(state: ForeignState) -> Imported:
    """Exact. One modality of several is chosen, and the model is what remains.

    What differs in convention: a linear map has one flat vector of weights there and a matrix per irrep here; sums
    over neighbours are divided by a number there and by its root here; radial weights are, from sevenn 0.11 on, in the
    order of the target irreps there and of the sources here; a coupling may have the other sign than e3nn's of today;
    the embedding is a linear map of the one-hot element; the readout is two linear maps without an activation between.
    """
    header = state.header
    _check(header)
    irreps = _all_irreps(header)
    modality = _modality(state)
    state.drop(_DERIVED)
    numbers = [z for z, _ in sorted(header["_type_map"].items(), key=lambda item: item[1])]
    order = torch.tensor(sorted(range(len(numbers)), key=numbers.__getitem__))
    width = irreps[0][natural(0)]

    embedding = state.take("onehot_to_feature_x.linear.weight").reshape(len(numbers), width)
    denominators = [float(state.take(f"{k}_convolution.denominator", (1,))) for k in range(len(irreps) - 1)]
    backbone = {
        "embedding.weight": embedding[order] / math.sqrt(len(numbers)),
        "bessel.frequencies": state.take("edge_embedding.basis_function.coeffs"),
        "avg_num_neighbors": torch.tensor(denominators[0] ** 2, dtype=torch.float64),
    }
    for k, (before, after) in enumerate(pairwise(irreps)):
        layer = _Layer(state, k, Layer(before, after, header["lmax"], so3=True), modality)
        backbone |= layer.tensors(denominators[0] / denominators[k])
    head, constant = _head(state, width=irreps[-1][natural(0)], modality=modality)
    scale, shift = (_per_element(state, name, len(numbers), modality) for name in ("scale", "shift"))
    if not bool((scale == scale[0]).all()):
        raise WeightsError("sevennet: energy scales differ from element to element, and the zoo has one for all. "
                           "Fix: import a model with one scale.")
    return Imported(
        architecture="nequip",
        config=_config(header, irreps, modality is not None) | {"avg_num_neighbors": denominators[0] ** 2},
        backbone=backbone,
        head=[(head, None)],
        scale=float(scale[0]),
        by_element=True,
        elements=sorted(numbers),
        element_shift=shift[order] + scale[0] * constant,
    )


def _check(header: Mapping[str, Any]) -> None:
    """
    Raises:
        WeightsError: an option that the zoo's nequip, or this map, does not have.
    """
    for option, known in _OPTIONS.items():
        if header.get(option, known) != known:
            raise WeightsError(f"sevennet: {option} is {header[option]!r}; the zoo reads models where it is {known!r}. "
                               "Fix: import such a model.")
    lacking = [key for key in ("lmax", "cutoff", "cutoff_function", "num_convolution_layer", "_type_map",
                               "weight_nn_hidden_neurons", "radial_basis") if key not in header]
    if lacking:
        raise WeightsError(f"sevennet: the checkpoint's configuration lacks {', '.join(lacking)}. {_FIX}")


def _config(header: Mapping[str, Any], irreps: list[Irreps], biased: bool) -> dict[str, Any]:
    hidden = header["weight_nn_hidden_neurons"]
    if len(set(hidden)) != 1:
        raise WeightsError(f"sevennet: radial networks of widths {hidden}; the zoo's have one width. "
                           "Fix: import a model with equal widths.")
    cutoff = dict(header["cutoff_function"])
    kind = {"XPLOR": "xplor", "poly_cut": "polynomial"}.get(cutoff.get("cutoff_function_name", "poly_cut"))
    if kind is None or header["radial_basis"].get("radial_basis_name", "bessel") != "bessel":
        raise WeightsError(f"sevennet: cut-off {cutoff} or basis {header['radial_basis']} is none of the zoo's. "
                           "Fix: import a model with a Bessel basis and the cut-off poly_cut or XPLOR.")
    config: dict[str, Any] = {
        "cutoff": float(header["cutoff"]),
        "num_layers": header["num_convolution_layer"],
        "lmax": header["lmax"],
        "parity": False,
        "num_features": list(irreps[1].values()),
        "num_bessel": header["radial_basis"].get("bessel_basis_num", 8),
        "trainable_bessel": True,
        "radial_depth": len(hidden),
        "radial_width": hidden[0],
        "type_features": irreps[0][natural(0)],
        "group": "SO3",
        "self_connection": "linear",
        "cutoff_function": kind,
        # Checkpoints older than this option did not normalise.
        "normalize_harmonics": bool(header.get("_normalize_sph", not _before(header, 10))),
    }
    if biased:
        config["scalar_bias"] = True
    if kind == "xplor":
        config["cutoff_onset"] = float(cutoff["cutoff_on"])
    else:
        config["envelope_exponent"] = int(cutoff.get("poly_cut_p_value", 6))
    return config


def _before(header: Mapping[str, Any], minor: int) -> bool:
    """Whether the checkpoint was written by sevenn 0.x with x < ``minor``; a development release of 0.11 is 0.10."""
    parts = str(header["version"]).split(".")
    major, x = int(parts[0]), int(parts[1])
    return major == 0 and (x < minor or (x == minor and parts[-1] == "dev0"))


def _all_irreps(header: Mapping[str, Any]) -> list[Irreps]:
    """Irreps before the first layer and after each.

    Raises:
        WeightsError: they are not those of the zoo's nequip.
    """
    texts, layers = header.get("irreps_manual"), header["num_convolution_layer"]
    if not texts:
        hidden = "+".join(f"{header['channel']}x{l}e" for l in range(header["lmax"] + 1))
        texts = [f"{header['channel']}x0e", *[hidden] * (layers - 1), f"{header['channel']}x0e"]
    found = [_irreps(str(text)) for text in texts]
    scalars = {natural(0): found[1][natural(0)]}
    if layers < 2 or found[1:] != [found[1]] * (layers - 1) + [scalars] or len(found[1]) != header["lmax"] + 1:
        raise WeightsError(f"sevennet: irreps {texts}: the zoo's nequip has the same in all hidden layers, and their "
                           "scalars after the last. Fix: import a model with such irreps.")
    return found


def _irreps(text: str) -> Irreps:
    terms = [re.fullmatch(r"(\d+)x(\d+)e", term.strip()) for term in text.split("+")]
    degrees = [int(term.group(2)) for term in terms if term]
    if degrees != list(range(len(terms))):
        raise WeightsError(f"sevennet: irreps {text}: the zoo's have every degree from 0, once, and no parity. "
                           "Fix: import a model with such irreps.")
    return {natural(int(term.group(2))): int(term.group(1)) for term in terms if term}


def _modality(state: ForeignState) -> tuple[int, int] | None:
    """Number of the chosen modality, and how many there are; None if the model has none.

    Raises:
        WeightsError: none was chosen, an unknown one, or one of a model without.
    """
    known = state.header.get("_modal_map") or {}
    if not state.header.get("use_modality") or not known:
        if "modality" in state.given:
            raise WeightsError("sevennet: this checkpoint has no modalities. Fix: leave out --set modality.")
        return None
    chosen = state.given.get("modality")
    by_name = {str(name).lower(): number for name, number in known.items()}
    if chosen is None or str(chosen).lower() not in by_name:
        found = "asks which" if chosen is None else f"has no modality '{chosen}', only"
        raise WeightsError(f"sevennet: this checkpoint {found} of {', '.join(map(str, known))}. "
                           f"Fix: add --set modality={next(iter(known))}.")
    return by_name[str(chosen).lower()], len(known)


class _Layer:
    """Tensors of one interaction layer."""

    def __init__(self, state: ForeignState, k: int, layer: Layer, modality: tuple[int, int] | None) -> None:
        self.state = state
        self.k = k
        self.layer = layer
        self.modality = modality

    def tensors(self, gain: float) -> dict[str, Tensor]:
        """By their names in the zoo; ``gain`` multiplies the sums over neighbours."""
        k, layer = self.k, self.layer
        header = self.state.header
        same = {irrep: (mul, mul) for irrep, mul in layer.irreps_in.items()}
        down = {irrep: (mul, layer.before_gate[irrep]) for irrep, mul in layer.middle.items()}
        both = {i: (mul, layer.before_gate[i]) for i, mul in layer.irreps_in.items() if i in layer.before_gate}
        return (
            self._linear("linear_up", "self_interaction_1", same, bool(header.get("use_modal_self_inter_intro")))
            | self._linear("linear_down", "self_interaction_2", down, bool(header.get("use_modal_self_inter_outro")))
            | self._linear("self_connection", "self_connection_intro", both, None)
            | {f"layers.{k}.radial.weights.{n}": weight for n, weight in enumerate(self._radial(gain))}
        )

    def _linear(
        self, here: str, there: str, shapes: dict[O3Irrep, tuple[int, int]], modal: bool | None
    ) -> dict[str, Tensor]:
        """A linear map by irreps. One hot modality among its inputs acts as a bias of the scalars."""
        name = f"{self.k}_{there}.linear.weight"
        flat = self.state.take(name)
        here = f"layers.{self.k}.{here}"
        scalar = natural(0)
        inputs, outputs = shapes[scalar]
        if self.modality is None or modal is None:
            found = blocks(flat, shapes, f"sevennet: {name}", _FIX)
            return {f"{here}.weights.{irrep}": matrix for irrep, matrix in found.items()}
        number, several = self.modality
        bias = torch.zeros(outputs, dtype=flat.dtype)
        fan_in = inputs
        if modal:
            split = flat.numel() - several * outputs
            fan_in = inputs + several
            bias = flat[split:].reshape(several, outputs)[number] / math.sqrt(fan_in)
            flat = flat[:split]
        found = blocks(flat, shapes, f"sevennet: {name}", _FIX)
        found[scalar] = found[scalar] * math.sqrt(inputs / fan_in)
        return {f"{here}.weights.{irrep}": matrix for irrep, matrix in found.items()} | {f"{here}.bias": bias}

    def _radial(self, gain: float) -> list[Tensor]:
        k, state = self.k, self.state
        depth = len(state.header["weight_nn_hidden_neurons"])
        weights = [state.take(f"{k}_convolution.weight_nn.layer{n}.weight") for n in range(depth + 1)]
        if weights[-1].shape[1] != self.layer.num_weights:
            found = weights[-1].shape[1]
            raise mismatch(f"sevennet: layer {k}'s tensor product", found, self.layer.num_weights, _FIX)
        # An activation is followed by e3nn's constant there and by √2 here.
        weights = [weight * (_SILU_SCALE / math.sqrt(2) if n > 0 else 1.0) for n, weight in enumerate(weights)]
        if not _before(state.header, 11):
            weights[-1] = weights[-1][:, self.layer.columns_by_target()]
        signs = [self._sign(path.source.l, path.l, path.target.l) for path in self.layer.paths]
        state.drop(rf"{k}_convolution\.convolution\..*_w3j_.*")
        per_path = torch.tensor([self.layer.irreps_in[path.source] for path in self.layer.paths])
        weights[-1] = weights[-1] * torch.tensor(signs, dtype=weights[-1].dtype).repeat_interleave(per_path) * gain
        return weights

    def _sign(self, *degrees: int) -> float:
        """Of the Clebsch-Gordan coefficients that the file holds, against e3nn's of today."""
        name = "_w3j_" + "_".join(map(str, degrees))
        key = next((key for key in self.state.tensors if key.startswith(f"{self.k}_conv") and key.endswith(name)), None)
        if key is None:  # one degree is 0, where there is nothing to choose
            return 1.0
        from e3nn.o3 import wigner_3j

        stored, today = self.state.tensors[key], wigner_3j(*degrees, dtype=torch.float64)
        for sign in (1.0, -1.0):
            if stored.shape == today.shape and torch.allclose(stored, sign * today, atol=1e-5):
                return sign
        raise WeightsError(f"sevennet: {key} is no Clebsch-Gordan coefficient of degrees {degrees}. {_FIX}")


def _head(state: ForeignState, *, width: int, modality: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    """(1, width) of the readout and the constant that the modality adds."""
    flat = state.take("reduce_input_to_hidden.linear.weight")
    last = state.take("reduce_hidden_to_energy.linear.weight")
    hidden = len(last)
    last = last.reshape(hidden, 1) / math.sqrt(hidden)
    modal = modality is not None and bool(state.header.get("use_modal_output_block"))
    fan_in = width + (modality[1] if modality and modal else 0)
    if flat.numel() != fan_in * hidden:
        raise mismatch("sevennet: the readout", flat.numel(), fan_in * hidden, _FIX)
    first = flat.reshape(fan_in, hidden) / math.sqrt(fan_in)
    constant = (first[width + modality[0]] @ last)[0] if modality and modal else torch.zeros((), dtype=flat.dtype)
    return (first[:width] @ last).T, constant


def _per_element(state: ForeignState, name: str, elements: int, modality: tuple[int, int] | None) -> Tensor:
    """(elements,) of ``scale`` or ``shift``, in the order of sevenn's types."""
    value = state.take(f"rescale_atomic_energy.{name}")
    if modality is not None and state.header.get(f"use_modal_wise_{name}"):
        value = value.reshape(modality[1], -1)[modality[0]]
    return value.reshape(-1).expand(elements)
