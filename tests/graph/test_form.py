"""Graphs whose tensors do not fit together are refused, not computed."""

from __future__ import annotations

import math

import ase.build
import pytest
import torch
from toy import toy_model

from zoo.errors import StructureError, ZooError
from zoo.graph.form import check_form
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges
from zoo.graph.verlet import VerletList

WATER = Graph.from_atoms(ase.build.molecule("H2O"), dtype=torch.float64)
TWO = Graph.from_atoms([ase.build.molecule("H2O")] * 2, dtype=torch.float64)


@pytest.mark.parametrize("graph, problem", [
    (WATER.replace(z=WATER.z[:2]), "pos has shape"),
    (WATER.replace(pos=WATER.pos[:, :2]), "pos has shape"),
    (WATER.replace(pos=WATER.pos[:2]), "pos has shape"),
    (WATER.replace(ptr=torch.tensor([0, 20])), "ptr is"),
    (TWO.replace(ptr=torch.tensor([0, 4, 6])), "batch does not fit"),
    (TWO.replace(ptr=torch.tensor([0, 7, 6])), "ptr is"),
    (WATER.replace(charge=torch.zeros(3)), "charge has shape"),
    (WATER.replace(node_attrs=torch.zeros(2, 4)), "node_attrs has 2 rows"),
    (WATER.with_edges(torch.tensor([[0, 50], [1, 2]])), "names atom 50 of 3"),
    (WATER.with_edges(torch.tensor([[0, -1], [1, 2]])), "names atom -1 of 3"),
    (WATER.with_edges(torch.tensor([[0.0, 1.0], [1.0, 2.0]])), "whole numbers"),
    (TWO.with_edges(torch.tensor([[0, 4], [1, 2]])), "two structures"),
    (WATER.with_edges(torch.tensor([[0], [1]])).replace(edge_attrs=torch.zeros(2, 1)), "edge_attrs has shape"),
])
def test_what_does_not_fit_is_named(graph: Graph, problem: str) -> None:
    with pytest.raises(StructureError, match=problem):
        toy_model("energy").predict(graph)


def test_what_fits_passes() -> None:
    for graph in (WATER, TWO, add_edges(TWO, 3.0), Graph.from_atoms(ase.build.bulk("Cu"), dtype=torch.float64)):
        check_form(graph)


def test_numbers_of_atoms_that_do_not_add_up_are_refused_at_once() -> None:
    with pytest.raises(StructureError, match="counts 2 atoms, and z has 3"):
        Graph.from_tensors(WATER.z, WATER.pos, n_atoms=torch.tensor([2]))


@pytest.mark.parametrize("skin", [-1.0, math.nan, math.inf])
def test_a_skin_that_would_lose_edges_is_refused(skin: float) -> None:
    with pytest.raises(ZooError, match="skin of a neighbor list"):
        VerletList(3.0, skin=skin)
    with pytest.raises(ZooError, match="skin of a neighbor list"):
        toy_model("energy").calculator(skin=skin)


@pytest.mark.parametrize("options", [{"fmax": math.nan}, {"fmax": -1.0}, {"fmax": 0.0}, {"steps": -1}])
def test_a_relaxation_that_cannot_end_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ZooError, match="positive fmax"):
        toy_model("energy").relax(ase.build.molecule("H2O"), **options)


def test_an_unknown_way_to_treat_errors_is_refused() -> None:
    with pytest.raises(ZooError, match="'raise' or 'keep'"):
        toy_model("energy").predict(WATER, on_error="ignore")


def test_a_slab_without_a_third_vector_has_no_stress_beside_a_batch() -> None:
    crystal = ase.build.bulk("Cu")
    slab = ase.build.fcc111("Cu", (1, 1, 2))
    assert not slab.cell[2].any() and slab.pbc.tolist() == [True, True, False]
    batch = Graph.from_atoms([crystal, crystal], dtype=torch.float64)
    model = toy_model("energy")
    found = model.predict([batch, slab, crystal], derivatives=["stress"], on_error="keep")
    assert isinstance(found[2], StructureError) and "structure 2" in str(found[2])
    assert all("stress" in found[k] for k in (0, 1, 3))


@pytest.mark.parametrize("row", range(3))
def test_a_lattice_vector_that_is_no_number_is_refused_along_any_direction(row: int) -> None:
    slab = ase.build.fcc111("Cu", (1, 1, 2), vacuum=5.0)
    slab.cell[row] = math.nan
    with pytest.raises(StructureError, match="cell is not finite"):
        toy_model("energy").predict(slab)
    slab.calc = toy_model("energy").calculator()
    with pytest.raises(StructureError, match="cell is not finite"):
        slab.get_potential_energy()
