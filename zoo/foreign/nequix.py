"""Nequix (``.nqx``): a line of JSON, then the arrays of its layers in the ``.npy`` format, without names."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from zoo.errors import WeightsError
from zoo.foreign.state import ForeignState, Imported
from zoo.foreign.steerable import Layer, natural

__all__ = ["nequix", "read"]

_MAX_HEADER = 2**20  # bytes
_NEEDED = (
    "cutoff", "atomic_numbers", "avg_n_neighbors", "scale", "shift", "hidden_irreps", "lmax", "n_layers",
    "radial_basis_size", "radial_mlp_size", "radial_mlp_layers", "radial_polynomial_p", "index_weights", "layer_norm",
)
_FIX = "Fix: give a .nqx file as its authors published it."


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Arrays by the names given to them here, and the configuration.

    Raises:
        WeightsError: not such a file, or one that ends early or goes on with other arrays.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = _header(stream.readline(_MAX_HEADER), path)
        try:
            tensors = {name: _array(stream, size) for name in _names(header)}
        except (ValueError, EOFError, KeyError, TypeError, IndexError) as error:
            raise WeightsError(f"{path}: the arrays of this .nqx file cannot be read: {error}. {_FIX}") from error
        # Some releases appended the configuration's numbers once more.
        rest = stream.read(size)
    if len(rest) > _MAX_HEADER:
        raise WeightsError(f"{path}: {len(rest)} bytes follow the last array that its configuration announces. {_FIX}")
    return tensors, header


def _header(line: bytes, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:  # also of text that is not UTF-8
        header = None
    if not isinstance(header, dict) or any(key not in header for key in _NEEDED):
        raise WeightsError(f"{path} is no .nqx file: it does not begin with a model's configuration. {_FIX}")
    return header


def _names(header: Mapping[str, Any]) -> list[str]:
    """Of the arrays, in the order of the file."""
    hidden = len(header["hidden_irreps"].split("+"))
    names = ["atom_energies"]
    for k in range(header["n_layers"]):
        irreps_in = 1 if k == 0 else hidden
        irreps_out = 1 if k == header["n_layers"] - 1 else hidden
        names += [f"layers.{k}.radial.{n}" for n in range(header["radial_mlp_layers"] + 1)]
        names += [f"layers.{k}.linear_1.{n}" for n in range(irreps_in)]
        names += [f"layers.{k}.linear_2.{n}" for n in range(irreps_out)]
        names += [f"layers.{k}.skip.{n}" for n in range(min(irreps_in, irreps_out))]
        names += [f"layers.{k}.norm.{n}" for n in range(irreps_out if header["layer_norm"] else 0)]
    return [*names, "readout"]


def _array(stream: BinaryIO, size: int) -> Tensor:
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of another version of the .npy format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    count = math.prod(shape)
    if dtype.kind != "f" or fortran or count * dtype.itemsize > size:
        raise ValueError(f"an array of shape {shape} and type {dtype}")
    raw = stream.read(count * dtype.itemsize)
    if len(raw) < count * dtype.itemsize:
        raise EOFError("the file ends early")
    return torch.from_numpy(np.frombuffer(raw, dtype).reshape(shape).astype(dtype.newbyteorder("=")))


def nequix(state: ForeignState) -> Imported:
    """The same model under other names.

    What differs in convention: the input is the one-hot element there too; radial weights are in the order of the
    target irreps there and of the sources here, and lack the factors fan-in^(−1/2), and √2 after an activation, that
    the zoo multiplies in; the gates' activations are scaled by e3nn-jax's constants.
    """
    header = state.header
    numbers = header["atomic_numbers"]
    per_degree = _features(header)
    order = torch.tensor(sorted(range(len(numbers)), key=numbers.__getitem__))
    backbone = {"avg_num_neighbors": torch.tensor(float(header["avg_n_neighbors"]), dtype=torch.float64)}
    held = {natural(0): len(numbers)}
    for k in range(header["n_layers"]):
        last = k == header["n_layers"] - 1
        out = {natural(l): n for l, n in enumerate(per_degree) if not (last and l > 0)}
        backbone |= _layer(state, k, Layer(held, out, header["lmax"]), order if k == 0 else None)
        held = out
    head = state.take("readout", (per_degree[0], 1)).T / math.sqrt(per_degree[0])
    energies = state.take("atom_energies", (len(numbers),))
    return Imported(
        architecture="nequip",
        config={
            "cutoff": float(header["cutoff"]),
            "num_layers": header["n_layers"],
            "lmax": header["lmax"],
            "parity": False,
            "num_features": per_degree,
            "num_bessel": header["radial_basis_size"],
            "envelope_exponent": int(header["radial_polynomial_p"]),
            "radial_depth": header["radial_mlp_layers"],
            "radial_width": header["radial_mlp_size"],
            "avg_num_neighbors": float(header["avg_n_neighbors"]),
            "input": "one-hot",
            "self_connection": "linear",
            "rms_norm": bool(header["layer_norm"]),
            "activation_moments": "quantiles",
        },
        backbone=backbone,
        head=[(head, None)],
        scale=float(header["scale"]),
        by_element=True,
        elements=sorted(numbers),
        element_shift=energies[order] + float(header["shift"]),
    )


def _features(header: Mapping[str, Any]) -> list[int]:
    """Channels per degree.

    Raises:
        WeightsError: irreps or options that the zoo's nequip does not have.
    """
    terms = [re.fullmatch(r"(\d+)x(\d+)([eo])", term.strip()) for term in header["hidden_irreps"].split("+")]
    expected = [(str(l), "eo"[l % 2]) for l in range(header["lmax"] + 1)]
    if [term and term.groups()[1:] for term in terms] != expected:
        raise WeightsError(f"nequix: hidden_irreps {header['hidden_irreps']}: the zoo's nequip has one irrep per "
                           f"degree up to lmax = {header['lmax']}, of parity (−1)^l. "
                           "Fix: import a model with such irreps.")
    if header["index_weights"]:
        raise WeightsError("nequix: skip connections with weights per element (index_weights). "
                           "Fix: import a model without them, as all published ones are.")
    return [int(term.group(1)) for term in terms if term]


def _layer(state: ForeignState, k: int, layer: Layer, elements: Tensor | None) -> dict[str, Tensor]:
    """Tensors of one layer; ``elements`` is the order of the one-hot input in the first."""
    here, there = f"layers.{k}", f"layers.{k}"
    found: dict[str, Tensor] = {}
    for n, irrep in enumerate(layer.irreps_in):
        mul = layer.irreps_in[irrep]
        matrix = state.take(f"{there}.linear_1.{n}", (mul, mul))
        found[f"{here}.linear_up.weights.{irrep}"] = matrix if elements is None else matrix[elements]
    for n, irrep in enumerate(layer.before_gate):
        shape = (layer.middle[irrep], layer.before_gate[irrep])
        found[f"{here}.linear_down.weights.{irrep}"] = state.take(f"{there}.linear_2.{n}", shape)
    both = [irrep for irrep in layer.irreps_in if irrep in layer.before_gate]
    for n, irrep in enumerate(both):
        matrix = state.take(f"{there}.skip.{n}", (layer.irreps_in[irrep], layer.before_gate[irrep]))
        found[f"{here}.self_connection.weights.{irrep}"] = matrix if elements is None else matrix[elements]
    if state.header["layer_norm"]:
        for n, irrep in enumerate(layer.before_gate):
            found[f"{here}.norm.weights.{irrep}"] = state.take(f"{there}.norm.{n}", (layer.before_gate[irrep],))
    for n in range(state.header["radial_mlp_layers"] + 1):
        weight = state.take(f"{there}.radial.{n}")
        gain = math.sqrt(2) if n > 0 else 1.0
        found[f"{here}.radial.weights.{n}"] = weight * (math.sqrt(weight.shape[0]) / gain)
    last = f"{here}.radial.weights.{state.header['radial_mlp_layers']}"
    found[last] = found[last][:, layer.columns_by_target()]
    return found
