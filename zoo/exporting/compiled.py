"""A model compiled to a library for this machine (AOTInductor), cached on disk.

For small systems, the overhead of Python and autograd is a large part of the time of an MD step; a compiled library
has neither. Compilation takes one to two minutes, once for each model, dtype and machine.

A library is code that this process runs. So the folder of the libraries belongs to the user alone (mode 0700, see
:mod:`zoo.files.private_folder`); the hash of each library is in its description in this folder, where no other user can
write. A library that is not a file of this user, that others can write to, or that has another hash is compiled again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from zoo.errors import ExportError, ZooError
from zoo.exporting.loaded import load_exported, read_description
from zoo.exporting.package import describe, export
from zoo.exporting.parity import measure
from zoo.exporting.signature import Arguments, arguments, pad, unpad
from zoo.files.private_folder import is_own_file, private_folder
from zoo.files.zoo_home import home
from zoo.graph.graph import Graph
from zoo.model.model import Model
from zoo.nn import sum_by

__all__ = ["CompiledModel", "compiled", "compiled_folder"]

log = logging.getLogger("zoo")


def compiled_folder() -> Path:
    """Folder of the cached libraries, ``$ZOO_HOME/compiled``; it may be deleted at any time.

    Where several users share ``$ZOO_HOME``, those who come later get ``$ZOO_HOME/compiled-UID``.

    Raises:
        ZooError: both belong to another user.
    """
    try:
        return private_folder(home() / "compiled")
    except ZooError as error:
        if os.name != "posix":
            raise
        log.warning("%s", error)
        return private_folder(home() / f"compiled-{os.geteuid()}")


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
    with FileLock(path.with_suffix(".lock")):  # of other threads and processes that want the same library
        try:
            library.function = _load(path)
            measure(model, library.function, stress=stress)
        except (ExportError, OSError, RuntimeError, ValueError):
            # Missing, incomplete, not of this user, or compiled from other code: compile again.
            library.function = None
            for file in (path, _description(path)):
                file.unlink(missing_ok=True)
            with _own_cache_of_torch(path.parent):
                export(model, path, "aoti", stress=stress)
            for file in (path, _description(path)):
                file.chmod(0o600)
        library.sha256 = read_description(path)["file_sha256"]
    return library


def _description(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _load(path: Path) -> Callable[..., Any]:
    """The function in a library of this user.

    Raises:
        ExportError: there is none, it is not the one described, or others could have written it.
    """
    for file in (path, _description(path)):
        if not is_own_file(file):
            raise ExportError(f"{file} is missing, or is not a file that only this user can write. "
                              "Fix: compile the model again.")
    return load_exported(path).function


@contextmanager
def _own_cache_of_torch(folder: Path) -> Iterator[None]:
    """The compiler runs what it finds in its cache, by default in the folder for temporary files of all users."""
    name = "TORCHINDUCTOR_CACHE_DIR"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(private_folder(folder / "torch"))
    try:
        yield
    finally:
        os.environ.pop(name, None)


class CompiledModel:
    """Energies and derivatives of a graph with edges. Copies and unpickled objects load the library file again."""

    def __init__(self, path: Path, cutoff: float, stress: bool) -> None:
        self.path, self.cutoff, self.stress = path, cutoff, stress
        self.function: Callable[..., Any] | None = None
        self.sha256: str | None = None

    def can(self, graph: Graph, *, stress: bool) -> bool:
        """True if the compiled library supports this batch: it has no stress of several structures."""
        return not stress or (self.stress and graph.num_graphs == 1)

    def __call__(self, graph: Graph, *, stress: bool = False) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Energies (B,) eV, forces (N, 3) eV/Å, stress (B, 3, 3) eV/Å³ or ``None``, energies of atoms (N,) eV."""
        if self.function is None:
            private_folder(self.path.parent)
            function = _load(self.path)
            if read_description(self.path)["file_sha256"] != self.sha256:
                raise ExportError(f"{self.path} was compiled again since this object was pickled. "
                                  "Fix: make the object again.")
            self.function = function
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
