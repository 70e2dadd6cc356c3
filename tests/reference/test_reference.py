"""Every family against an implementation that none of us wrote, through the importers that users have.

The files next to this one hold weights, inputs and outputs of other packages at pinned versions; ``make peers`` writes
them anew. Both sides compute in the same precision.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

import zoo
from zoo.graph.graph import Graph
from zoo.loading.importing import import_state

HERE = Path(__file__).parent
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


@dataclass(frozen=True)
class Case:
    """A reference file, the importer for its weights, and what the weights do not hold."""

    file: str
    importer: str
    config: tuple[str, ...] = ()

    def given(self) -> dict:
        return {ours: about(self.file)["config"][theirs] for ours, theirs in (p.split("=") for p in self.config)}


CASES = [
    Case("schnet", "pyg-schnet"),
    Case("dimenet", "pyg-dimenet", ("cutoff=cutoff",)),
    Case("painn", "schnetpack-painn"),
    Case("nequip", "nequip", NEQUIP := ("num_features=num_features", "parity=parity",
                                        "avg_num_neighbors=avg_num_neighbors")),
    Case("nequip-one-parity", "nequip", NEQUIP),
    Case("gemnet", "fairchem-gemnet", ("cutoff=cutoff",)),
]
IDS = [case.file for case in CASES]


@cache
def about(file: str) -> dict:
    with safe_open(HERE / f"{file}.safetensors", "pt") as handle:
        return json.loads(handle.metadata()["zoo"])


@cache
def tensors(file: str) -> dict[str, Tensor]:
    return load_file(HERE / f"{file}.safetensors")


def part(file: str, prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors(file).items() if k.startswith(prefix)}


def elements(file: str) -> list[str]:
    return about(file).get("config", {}).get("type_names") or ["H", "C", "N", "O", "Si"]


def imported(case: Case, dtype: torch.dtype) -> zoo.Model:
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in part(case.file, "state.").items()}
    return import_state(case.importer, state, elements=elements(case.file), pbc=True, config=case.given())


def graph(file: str, dtype: torch.dtype) -> Graph:
    """The reference's structures with its own edges, so that no neighbour list comes between the two models."""
    given = part(file, "input.")
    cell, periodic = given["cell"].to(dtype), given["pbc"]
    of_edge = given["batch"][given["edge_index"][1]]
    # Integer shifts; molecules, whose cell is zero, have none.
    solvable = torch.where(periodic[:, None, None], given["cell"], torch.eye(3, dtype=torch.float64))[of_edge]
    shift = torch.linalg.solve(solvable.mT, given["edge_shift"]).round()
    whole = Graph.from_tensors(given["z"], given["pos"].to(dtype), n_atoms=torch.bincount(given["batch"]), cell=cell,
                               pbc=periodic[:, None].expand(-1, 3))
    return whole.with_edges(given["edge_index"], shift.to(dtype))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_energies_and_forces_are_those_of_the_reference(case, dtype):
    exact = part(case.file, "output.float64.")
    expected = part(case.file, f"output.{str(dtype).removeprefix('torch.')}.")
    found = imported(case, dtype)(graph(case.file, dtype), derivatives=("forces",))
    for key in ("energy", "forces"):
        # The reference's own rounding is no disagreement: in float32 some lie 1e-5 from the float64 values.
        rounding = (expected[key] - exact[key]).abs().max()
        allowed = TOLERANCE[dtype] * exact[key].abs().max() + rounding
        torch.testing.assert_close(found[key].double(), expected[key].double(), rtol=0, atol=float(allowed))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_zoos_own_neighbour_list_finds_the_same_edges(case):
    """The same energies when only positions and cell are given: cut-off, images and self-images included."""
    model = imported(case, torch.float64)
    given = graph(case.file, torch.float64)
    bare = Graph.from_tensors(given.z, given.pos, n_atoms=given.ptr.diff(), cell=given.cell, pbc=given.pbc)
    torch.testing.assert_close(model(bare)["energy"], model(given)["energy"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_weights_of_the_reference_are_felt(case):
    """Disturbing a weight of the reference changes the imported model's energies: none is mapped in vain."""
    state = {k: v.double() for k, v in part(case.file, "state.").items() if v.is_floating_point()}
    inputs = graph(case.file, torch.float64)
    before = imported(case, torch.float64)(inputs)["energy"].detach()
    weights = [k for k in state if k.endswith(("weight", "bias")) and state[k].numel() > 1]
    for key in weights[:: max(1, len(weights) // 10)]:
        # Some modules are registered under two names; both change.
        same = [k for k in state if state[k].shape == state[key].shape and torch.equal(state[k], state[key])]
        noise = 0.1 * torch.rand(state[key].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        changed = state | {k: state[k] + noise for k in same}
        model = import_state(case.importer, changed, elements=elements(case.file), pbc=True, config=case.given())
        assert not torch.allclose(before, model(inputs)["energy"], rtol=1e-9), key


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_reference_files_are_small_and_say_their_versions(case):
    assert (HERE / f"{case.file}.safetensors").stat().st_size <= 300_000
    assert about(case.file)["peer"]["torch"].startswith("2.")
    assert len(about(case.file)["peer"]) >= 3


def count(architecture: str, *, preset: str | None = "paper", **changes: object) -> int:
    return zoo.create(architecture, preset=preset, elements=["H", "C", "N", "O", "F"], **changes).num_parameters


def test_paper_configurations_have_the_reference_number_of_parameters():
    assert count("schnet") == about("schnet")["paper_parameters"]["parameters"]
    assert count("painn") == about("painn")["paper_parameters"]["parameters"]
    assert count("dimenet") == about("dimenet")["paper_parameters"]["parameters"]
    # fairchem's circular basis has a trainable radial basis of its own, the paper's has none.
    gemnet = about("gemnet")["paper_parameters"]
    assert count("gemnet", preset="paper-t") + gemnet["config"]["num_radial"] == gemnet["parameters"]
    assert count("gemnet", preset="paper-t", angular_radial="bessel") == gemnet["parameters"]


def test_nequip_has_the_parameters_of_the_reference_that_can_matter():
    """nequip also counts weights of features that no path leads from to the energy; the zoo does not make them."""
    paper = about("nequip")["paper_parameters"]
    # The package of today: an embedding instead of one-hot elements, no self-connection in the first layer.
    found = count("nequip", type_features=64, first_self_connection=False)
    assert found == paper["live_parameters"] < paper["parameters"]
