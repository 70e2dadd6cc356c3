"""Exported models in Python: loaded, checked, run on structures, and as an ASE calculator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from zoo.elements import SYMBOLS
from zoo.errors import ExportError, StructureError
from zoo.exporting.signature import arguments, pad, unpad
from zoo.files.hashing import sha256_of
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges

__all__ = ["ExportedCalculator", "ExportedModel", "load_exported", "load_function"]


def load_exported(path: str | Path) -> ExportedModel:
    """The model in a file that :func:`zoo.export` wrote. It runs code from that file: load only what you trust.

    Raises:
        ExportError: the file or its description is missing, or they do not belong together.
    """
    path = Path(path)
    sidecar = path.with_name(f"{path.name}.json")
    for file in (path, sidecar):
        if not file.is_file():
            raise ExportError(f"{file}: no such file. "
                              "Fix: copy the .pt2 file and its .pt2.json description into one folder.")
    description = json.loads(sidecar.read_text(encoding="utf-8"))
    found = sha256_of(path)
    if found != description.get("file_sha256"):
        raise ExportError(f"{path} has sha256 {found}, and {sidecar.name} describes a file with "
                          f"{description.get('file_sha256')}. Fix: export it again, or copy both files together.")
    return ExportedModel(load_function(path, description["format"]), description)


def load_function(path: Path, format: str) -> Callable[..., Any]:
    """The bare function in a file."""
    if format == "aoti":
        return torch._inductor.aoti_load_package(str(path))
    return torch.export.load(path).module()


class ExportedModel:
    """An exported function and its description.

    Attributes:
        function: ``(z, pos, cell, edge_index, edge_shift) → (energy, forces, atomic_energies[, stress])``, see
            ``description["inputs"]`` and ``["outputs"]``; at least two atoms and two edges.
        description: the content of the JSON file: cut-off, elements, dtype, hashes, versions, parity.
    """

    def __init__(self, function: Callable[..., Any], description: dict[str, Any]) -> None:
        self.function = function
        self.description = description
        self.cutoff = float(description["cutoff"])
        self.device = torch.device(description["device"])
        self._elements = frozenset(description["elements"])

    def __call__(self, atoms: ase.Atoms) -> dict[str, np.ndarray]:
        """Energy (eV), forces (eV/Å), atomic_energies (eV) and, for a crystal, stress (eV/Å³) of one structure.

        Raises:
            StructureError: no atoms, or elements or periodicity outside the domain of the model.
        """
        self._check(atoms)
        graph = add_edges(Graph.from_atoms(atoms, dtype=torch.float64, device=self.device), self.cutoff)
        outputs = {name: value.detach().cpu().numpy() for name, value in self.run(graph).items()}
        if not atoms.pbc.all():
            outputs.pop("stress", None)
        return outputs

    def run(self, graph: Graph) -> dict[str, Tensor]:
        """The same for a graph of one structure with edges; graphs below the minimum size are padded."""
        inputs, n = pad(arguments(graph), self.cutoff)
        with torch.no_grad():
            return unpad(self.function(*inputs), n)

    def calculator(self, **options: Any) -> ExportedCalculator:
        """An ASE calculator."""
        return ExportedCalculator(self, **options)

    def _check(self, atoms: ase.Atoms) -> None:
        name = self.description["model"]
        if not len(atoms):
            raise StructureError("the structure is empty: it has no atoms. Fix: give a structure with atoms.")
        unknown = sorted({SYMBOLS[z] for z in atoms.numbers} - self._elements)
        if unknown:
            raise StructureError(f"{', '.join(unknown)} is outside the domain of {name}, which knows "
                                 f"{', '.join(self.description['elements'])}. "
                                 "Fix: choose a model that was trained on these elements (zoo list).")
        if atoms.pbc.any() and not self.description["pbc"]:
            raise StructureError(f"the structure is periodic, and {name} was made for molecules. "
                                 "Fix: set atoms.pbc = False if the cell is only a box around a molecule.")


class ExportedCalculator(Calculator):
    """Energy, forces, energies and, if it was exported, stress of an :class:`ExportedModel`."""

    def __init__(self, model: ExportedModel, **options: Any) -> None:
        self.implemented_properties = ["energy", "free_energy", "energies", "forces"]
        if "stress" in model.description["outputs"]:
            self.implemented_properties.append("stress")
        super().__init__(**options)
        self.model = model

    def calculate(self, atoms: ase.Atoms | None = None, properties: Any = ("energy",),
                  system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        out = self.model(self.atoms)
        energy = float(out["energy"])
        self.results = {"energy": energy, "free_energy": energy, "energies": out["atomic_energies"],
                        "forces": out["forces"]}
        if "stress" in out:
            self.results["stress"] = full_3x3_to_voigt_6_stress(out["stress"])
