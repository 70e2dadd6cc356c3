"""Exported models in Python: loaded, checked, run on structures, and as an ASE calculator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from zoo.elements import NUMBERS
from zoo.errors import ExportError
from zoo.exporting.signature import arguments, pad, unpad
from zoo.files.hashing import sha256_of
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges
from zoo.model.checks import Scope, check_distances, check_finite, check_structure
from zoo.model.plausible import EnergyLimits, check_energy
from zoo.model.stress import why_no_stress
from zoo.structures.checked_calculator import CheckedCalculator
from zoo.structures.inputs import to_graph

__all__ = ["ExportedCalculator", "ExportedModel", "load_exported", "load_function",
           "read_description"]


def load_exported(path: str | Path) -> ExportedModel:
    """The model in a file that :func:`zoo.export` wrote. It runs code from that file: load only what you trust.

    Raises:
        ExportError: the file or its description is missing, or they do not belong together.
    """
    path = Path(path).absolute()
    description = read_description(path)
    return ExportedModel(load_function(path, description["format"]), description, path)


def read_description(path: Path) -> dict[str, Any]:
    """The description next to an exported file, whose hash it holds.

    Raises:
        ExportError: the file or its description is missing, or they do not belong together.
    """
    sidecar = path.with_name(f"{path.name}.json")
    for file in (path, sidecar):
        if not file.is_file():
            raise ExportError(f"{file}: no such file. "
                              "Fix: copy the .pt2 file and its .pt2.json description into one folder.")
    try:
        description = json.loads(sidecar.read_text(encoding="utf-8"))
        promised = description["file_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{sidecar} is no description of an exported model: {error}. "
                          "Fix: export it again.") from error
    found = sha256_of(path)
    if found != promised:
        raise ExportError(f"{path} has sha256 {found}, and {sidecar.name} describes a file with {promised}. "
                          "Fix: export it again, or copy both files together.")
    return description


def load_function(path: Path, format: str) -> Callable[..., Any]:
    """The bare function in a file."""
    if format == "aoti":
        return torch._inductor.aoti_load_package(str(path))
    return torch.export.load(path).module()


class ExportedModel:
    """An exported function and its description. Copies and unpickled objects load the file again.

    Attributes:
        function: ``(z, pos, cell, edge_index, edge_shift) → (energy, forces, atomic_energies[, stress])``, see
            ``description["inputs"]`` and ``["outputs"]``; at least two atoms and two edges.
        description: the content of the JSON file: cut-off, elements, dtype, hashes, versions, parity.
        scope: which structures it takes.
        energy_limits: of what it may give; ``None`` for files of earlier versions.
        path: of the file, absolute.
    """

    def __init__(self, function: Callable[..., Any], description: dict[str, Any], path: Path) -> None:
        self.function = function
        self.description = description
        self.path = path
        self.cutoff = float(description["cutoff"])
        self.device = torch.device(description["device"])
        elements = tuple(NUMBERS[symbol] for symbol in description["elements"])
        self.scope = Scope(description.get("model", "this model"), elements, pbc=bool(description.get("pbc", True)))
        if (known := description.get("energy_limits")) is None:  # exported by an earlier version
            self.energy_limits: EnergyLimits | None = None
        else:
            lone = {NUMBERS[symbol]: energy for symbol, energy in known["lone"].items()}
            self.energy_limits = EnergyLimits(lone, known["spread"])

    def __call__(self, atoms: ase.Atoms) -> dict[str, np.ndarray]:
        """Energy (eV), forces (eV/Å), atomic_energies (eV) and, with a periodic direction and a cell, stress (eV/Å³).

        Raises:
            StructureError: what the model itself refuses, see :func:`zoo.model.checks.check_structure`; or a result
                that is not finite, or an energy that no structure has.
        """
        graph = to_graph(self.scope, atoms)
        check_structure(self.scope, graph, "the structure")
        return self.evaluate(graph, stress=why_no_stress(atoms) is None)

    def evaluate(self, graph: Graph, *, stress: bool) -> dict[str, np.ndarray]:
        """The same for a float64 graph of one structure whose elements and inputs have been checked."""
        graph = add_edges(graph.to(self.device), self.cutoff)
        check_distances(graph, "the structure")
        outputs = {name: value.detach().cpu().numpy() for name, value in self.run(graph).items()}
        if not stress:
            outputs.pop("stress", None)
        check_finite(outputs, "the structure")
        if self.energy_limits is not None:
            check_energy(float(outputs["energy"]), self.energy_limits.of_atoms(graph.z.cpu().numpy()), "the structure")
        return outputs

    def run(self, graph: Graph) -> dict[str, Tensor]:
        """The bare results for a graph of one structure with edges; graphs below the minimum size are padded."""
        inputs, n = pad(arguments(graph), self.cutoff)
        with torch.no_grad():
            return unpad(self.function(*inputs), n)

    def calculator(self, **options: Any) -> ExportedCalculator:
        """An ASE calculator."""
        return ExportedCalculator(self, **options)

    def __reduce__(self) -> Any:
        return _load_again, (self.path, self.description["file_sha256"])


def _load_again(path: Path, sha256: str) -> ExportedModel:
    """The file of a pickled model, if it is still the same."""
    if read_description(path)["file_sha256"] != sha256:
        raise ExportError(f"{path} was exported again since this object was pickled. Fix: make the object again.")
    return load_exported(path)


class ExportedCalculator(CheckedCalculator):
    """Energy, forces, energies and, if it was exported, stress of an :class:`ExportedModel`.

    It makes the same checks as the calculator of a model.
    """

    def __init__(self, model: ExportedModel, **options: Any) -> None:
        self.implemented_properties = ["energy", "free_energy", "energies", "forces"]
        if "stress" in model.description["outputs"]:
            self.implemented_properties.append("stress")
        super().__init__(model.scope, **options)
        self.model = model

    def calculate(self, atoms: ase.Atoms | None = None, properties: Any = ("energy",),
                  system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        graph = self.checked_graph(self.atoms, system_changes)
        out = self.model.evaluate(graph, stress=why_no_stress(self.atoms) is None)
        energy = float(out["energy"])
        self.results = {"energy": energy, "free_energy": energy, "energies": out["atomic_energies"],
                        "forces": out["forces"]}
        if "stress" in out:
            self.results["stress"] = full_3x3_to_voigt_6_stress(out["stress"])
