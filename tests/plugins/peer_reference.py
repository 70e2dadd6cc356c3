"""What another package computed, as written by ``tests/reference/peers``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from zoo.foreign.state import ForeignState, Imported
from zoo.graph.graph import Graph

FOLDER = Path(__file__).resolve().parents[1] / "reference"


@dataclass(frozen=True)
class Reference:
    about: dict
    state: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, dict[str, Tensor]]

    def imported(self, importer: Callable[[ForeignState], Imported], **given: object) -> Imported:
        """Its weights under the zoo's names, float64; ``given`` is what they do not hold, such as the cut-off."""
        return importer(ForeignState({k: v.double() for k, v in self.state.items()}, given))

    def graph(self, dtype: torch.dtype, *, pos: Tensor | None = None) -> Graph:
        """Its structures and its edges; ``edge_vec`` with history when ``pos`` requires grad."""
        pos = self.inputs["pos"].to(dtype) if pos is None else pos
        graph = Graph.from_tensors(self.inputs["z"], pos, n_atoms=torch.bincount(self.inputs["batch"]))
        j, i = self.inputs["edge_index"]
        order = torch.argsort(i, stable=True)
        shift = self.inputs["edge_shift"].to(dtype)[order]
        j, i = j[order], i[order]
        vec = pos[j] + shift - pos[i]
        # Integer shifts are what tells images apart; the structures' Cartesian ones are multiples of the cell.
        cell = self.inputs["cell"].to(dtype)[graph.batch[i]]
        periodic = self.inputs["pbc"][graph.batch[i]]
        whole = torch.zeros_like(shift)
        whole[periodic] = torch.linalg.solve(cell[periodic].mT, shift[periodic]).round()
        return graph.replace(edge_index=torch.stack([j, i]), edge_shift=whole, edge_vec=vec, edge_len=vec.norm(dim=1))


def load(name: str) -> Reference:
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        about = json.loads(file.metadata()["zoo"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118

    def under(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    outputs = {name: under(f"output.{name}.") for name in ("float32", "float64")}
    return Reference(about, under("state."), under("input."), outputs)
