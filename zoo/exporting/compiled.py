"""A model compiled to a library for this machine (AOTInductor), cached on disk.

For small systems, the overhead of Python and autograd is a large part of the time of an MD step; a compiled library
has neither. Compilation takes one to two minutes, once for each model, dtype and machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.errors import ExportError
from zoo.exporting.loaded import load_exported, load_function
from zoo.exporting.package import describe, export
from zoo.exporting.parity import measure
from zoo.exporting.signature import Arguments, arguments, pad, unpad
from zoo.files.zoo_home import home
from zoo.graph.graph import Graph
from zoo.model.model import Model
from zoo.nn import sum_by

__all__ = ["CompiledModel", "compiled", "compiled_folder"]


def compiled_folder() -> Path:
    """Folder of the cached libraries, ``$ZOO_HOME/compiled``; it may be deleted at any time."""
    return home() / "compiled"


def compiled(model: Model) -> CompiledModel:
    """The library of a model; compiled if none is cached for these weights, this torch and this processor.

    Cached and new libraries alike are compared with the model before they are used.

    Raises:
        ExportError: the model has no energy, reads other inputs, cannot be recorded or compiled; or its numbers differ.
    """
    stress = model.knows_crystals
    known = describe(model, "aoti", stress)
    config = None if model.card is None else model.card.model_dump(mode="json", include={"config", "targets", "priors"})
    key = hashlib.sha256(json.dumps([known, config, _processor()], sort_keys=True, default=str).encode()).hexdigest()
    path = compiled_folder() / f"{known['model']}-{known['dtype']}-{key[:16]}.pt2"
    library = CompiledModel(path, model.cutoff, stress)
    try:
        library.function = load_exported(path).function
        measure(model, library.function, stress=stress)
    except (ExportError, OSError, RuntimeError, ValueError):
        # Missing, incomplete, or compiled from other code: compile again.
        library.function = None
        export(model, path, "aoti", stress=stress)
    return library


class CompiledModel:
    """Energies and derivatives of a graph with edges. Copies and unpickled objects load the library file again."""

    def __init__(self, path: Path, cutoff: float, stress: bool) -> None:
        self.path, self.cutoff, self.stress = path, cutoff, stress
        self.function: Callable[..., Any] | None = None

    def can(self, graph: Graph, *, stress: bool) -> bool:
        """True if the compiled library supports this batch: it has no stress of several structures."""
        return not stress or (self.stress and graph.num_graphs == 1)

    def __call__(self, graph: Graph, *, stress: bool = False) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Energies (B,) eV, forces (N, 3) eV/Å, stress (B, 3, 3) eV/Å³ or ``None``, energies of atoms (N,) eV."""
        if self.function is None:
            self.function = load_function(self.path, "aoti")
        inputs, n = pad(_one_graph(graph), self.cutoff)
        with torch.no_grad():
            out = unpad(self.function(*inputs), n)
        atomic = out["atomic_energies"]
        energy = sum_by(atomic, graph.batch, graph.num_graphs)
        return energy, out["forces"], out["stress"][None] if stress else None, atomic

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"function": None}


def _one_graph(graph: Graph) -> Arguments:
    """A batch as one structure with a cell of 1 Å; lattice translations are given in Å, as the cells may differ."""
    z, pos, cell, edge_index, shift = arguments(graph)
    if graph.num_graphs > 1 and graph.cell is not None:
        cells = graph.cell.double().index_select(0, graph.batch.index_select(0, graph.target))
        shift = torch.einsum("ei,eij->ej", shift, cells)
        cell = torch.eye(3, dtype=pos.dtype, device=pos.device)
    return z, pos, cell, edge_index, shift


def _processor() -> str:
    """The instruction sets of this processor, which compiled code depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return torch.backends.cpu.get_cpu_capability()
    return next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
