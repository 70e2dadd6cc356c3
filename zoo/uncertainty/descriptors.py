"""The inputs of an error model: descriptors from the features of the model's own forward pass."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from zoo.nn import sum_by

if TYPE_CHECKING:
    from zoo.graph.graph import Graph
    from zoo.model.model import Model
    from zoo.model.readouts import Readout

__all__ = ["Description", "describe"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class Description:
    """Descriptors of B structures with N atoms, float32, on the CPU.

    Attributes:
        heads: (B, H) composition, summed features, and for every scalar target the gradient of its standardised
            value with respect to the last layer of its head.
        pooled: (B, F + 1) invariant features summed over atoms, and the number of atoms.
        composition: (B, elements) number of atoms of each element of the model.
        atoms: (N, F) invariant features of every atom.
        batch: (N,) structure of each atom.
    """

    heads: Tensor
    pooled: Tensor
    composition: Tensor
    atoms: Tensor
    batch: Tensor


def describe(model: Model, graph: Graph, features: Tensor) -> Description:
    """Descriptors of a batch from its features (N, dim(irreps_out)), as kept by a
    :class:`zoo.model.feature_hook.FeatureHook`."""
    scalars = model.layout.scalars(features)
    count = graph.num_graphs
    sums = sum_by(torch.cat([scalars, torch.ones_like(scalars[:, :1])], 1), graph.batch, count)
    composition = model.composition(graph)
    heads = [composition, sums[:, :-1]]
    for name, readout in model.readouts.items():
        gradient = last_layer_gradient(readout, features, graph) if model.output_types[name].is_scalar else None
        if gradient is not None:
            heads.append(gradient)
    return Description(_plain(torch.cat([head.float() for head in heads], 1)), _plain(sums), _plain(composition),
                       _plain(scalars), graph.batch.cpu())


def last_layer_gradient(readout: Readout, features: Tensor, graph: Graph) -> Tensor | None:
    """(B, D) gradient of a scalar target with respect to the last linear layer of its head, summed over atoms.

    D = inputs + 1 for a head with one output. A head with more outputs, such as charges and dipoles, has twice that:
    the gradients of the first output, and the norms over the others, which may be hundreds. ``None`` for a readout
    without a linear layer.
    """
    # Hooks of the readout itself would act on the forward passes of other threads as well.
    readout = _apart(readout)
    layers = [m for m in getattr(readout, "net", nn.Identity()).modules() if isinstance(m, nn.Linear)]
    if not layers:
        return None
    kept: dict[str, Tensor] = {}

    def cut(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        kept["in"], kept["out"] = inputs[0].detach(), output.detach().requires_grad_(True)
        return kept["out"]

    layers[-1].register_forward_hook(cut)
    with torch.enable_grad():
        value = readout(features, graph)
        (slope,) = torch.autograd.grad(value.sum(), kept["out"])
    if slope.shape[1] > 1:
        slope = torch.cat([slope[:, :1], slope[:, 1:].norm(dim=1, keepdim=True)], 1)
    inputs = torch.cat([kept["in"], torch.ones_like(kept["in"][:, :1])], 1)
    return sum_by((slope[:, :, None] * inputs[:, None]).flatten(1), graph.batch, graph.num_graphs)


def _apart(module: ModuleT) -> ModuleT:
    """A module that shares parameters and buffers with another, and has submodules and hooks of its own."""
    twin = type(module).__new__(type(module))
    twin.__dict__.update(module.__dict__)
    twin.__dict__["_modules"] = {name: None if m is None else _apart(m) for name, m in module._modules.items()}
    twin.__dict__["_forward_hooks"] = OrderedDict(module._forward_hooks)
    return twin


def _plain(value: Tensor) -> Tensor:
    return value.detach().float().cpu()
