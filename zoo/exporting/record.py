"""Records a model, with its derivatives, as a graph of plain torch operations.

``torch.export`` cannot trace a call to autograd. So the function is first traced with ``make_fx``, which records every
operation of forward and backward pass with symbolic sizes; the result contains no autograd call, and ``torch.export``
accepts it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from zoo.errors import ExportError
from zoo.exporting.identity_gathers import remove_identity_gathers
from zoo.exporting.row_sums import add_whole_rows
from zoo.exporting.signature import MINIMUM, Arguments
from zoo.graph.graph import Graph
from zoo.graph.tracing import traced
from zoo.model.model import Model
from zoo.units import factor

__all__ = ["potential_function", "record"]

PotentialFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, ...]]


def potential_function(model: Model, *, stress: bool) -> PotentialFunction:
    """The function that is exported, see :mod:`zoo.exporting.signature`. Its weights must not require gradients."""
    to_ev = factor(model.units[model.required_energy], "eV")

    def energy_and_derivatives(
        z: Tensor, pos: Tensor, cell: Tensor, edge_index: Tensor, edge_shift: Tensor
    ) -> tuple[Tensor, ...]:
        pos = pos.detach().requires_grad_(True)
        moved, inputs = pos, [pos]
        if stress:
            strain = torch.zeros_like(cell).requires_grad_(True)
            symmetric = (strain + strain.T) / 2
            moved, cell = pos + pos @ symmetric, cell + cell @ symmetric
            inputs.append(strain)
        ptr = torch.zeros(2, dtype=torch.long, device=z.device)  # one structure; its number of atoms is not used
        graph = Graph(z=z, pos=moved, batch=torch.zeros_like(z), ptr=ptr, cell=cell[None], edge_index=edge_index,
                      edge_shift=edge_shift)
        atomic = model.atomic_energies(graph) * to_ev
        gradients = torch.autograd.grad(atomic.sum(), inputs)
        atomic = atomic.detach()
        outputs = (atomic.sum(), -gradients[0], atomic)
        if not stress:
            return outputs
        a, b, c = cell.detach().unbind(0)
        volume = (torch.linalg.cross(a, b) * c).sum().abs()
        return *outputs, torch.where(volume > 0, gradients[1] / volume, torch.nan)

    return energy_and_derivatives


def record(model: Model, example: Arguments, *, stress: bool) -> ExportedProgram:
    """A graph for any number of atoms and edges from ``MINIMUM`` on, recorded on one example.

    Raises:
        ExportError: the architecture has data-dependent control flow.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    function = potential_function(model, stress=stress)
    atoms, edges = Dim("atoms", min=MINIMUM), Dim("edges", min=MINIMUM)
    try:
        with traced(), torch.enable_grad():
            # Weights are constants of the graph and not inputs: they are real tensors among fake ones.
            recorded = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*example)
        remove_identity_gathers(recorded)
        if model.device.type == "cpu":
            add_whole_rows(recorded)
        with torch.no_grad():
            return torch.export.export(recorded, example, dynamic_shapes=({0: atoms}, {0: atoms}, {}, {1: edges},
                                                                          {0: edges}))
    except Exception as error:
        # Torch raises many types of errors here; its message names the operation.
        raise ExportError(f"{_architecture(model)} cannot be recorded as a graph: its forward pass computes something "
                          f"that depends on more than the sizes of its inputs. torch reports: {_first_line(error)}. "
                          "Fix: use plain operations in the backbone where zoo.nn.is_traced() is true.") from error


def _architecture(model: Model) -> str:
    return type(model.backbone).__name__ if model.card is None else f"architecture '{model.card.architecture}'"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
