"""torch-geometric data sets: rows where they belong, bond graphs only when asked for."""

from __future__ import annotations

import ase.units
import pytest
import torch
from torch_geometric.data import Data, InMemoryDataset

from zoo.data import from_pyg
from zoo.errors import DataError


def entries(n: int = 4) -> list[Data]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for k in range(n):
        size = 3 + k
        made.append(Data(z=torch.full((size,), 6), pos=torch.randn(size, 3, generator=generator),
                         y=torch.tensor([[1.0 * k, 10.0 * k]]), energy=torch.tensor(2.0 * k),
                         force=torch.full((size, 3), float(k)), moment=torch.tensor([k, 1.0, 2.0]),
                         edge_index=torch.tensor([[0, 1, 2, 0], [1, 0, 0, 2]]),
                         weight=torch.arange(4.0)[:, None] + 10 * k, edge_attrs=torch.arange(4.0)[:, None] + 10 * k))
    return made


class Small(InMemoryDataset):
    def __init__(self, parts: list[Data]) -> None:
        super().__init__()
        self.data, self.slices = self.collate(parts)


LABELS = {"labels": {"E": ("y", 1), "total": "energy", "forces": "force", "mu": "moment"},
          "units": {"E": "kcal/mol", "total": "eV", "forces": "eV/Å", "mu": "D"}}


@pytest.mark.parametrize("wrap", [list, Small])
def test_columns_fields_and_per_atom_labels(wrap):
    store = from_pyg(wrap(entries()), **LABELS)
    assert store.n_atoms.tolist() == [3, 4, 5, 6] and store.edges is None
    torch.testing.assert_close(store.labels["E"], torch.arange(4).double() * 10 * ase.units.kcal / ase.units.mol,
                               rtol=1e-7, atol=0)
    assert store.units["E"] == "eV" and store.labels["total"].tolist() == [0, 2, 4, 6]
    assert store.per_atom == {"forces"} and store.labels["mu"].tolist()[3] == [3, 1, 2]
    assert torch.equal(store.labels_of([2], ["forces"])["forces"], torch.full((5, 3), 2.0).double())


def test_a_subset_of_a_data_set_and_a_single_entry():
    store = from_pyg(Small(entries())[2:], **LABELS)
    assert store.n_atoms.tolist() == [5, 6] and store.labels["total"].tolist() == [4, 6]
    single = from_pyg(entries()[1], **LABELS)
    assert len(single) == 1 and single.labels["mu"].tolist() == [[1, 1, 2]] and single.per_atom == {"forces"}


def test_sizes_that_leave_it_open_are_asked_about():
    three = [entries()[0], entries()[0]]
    with pytest.raises(DataError, match=r"'moment' has as many rows as each structure has atoms, 3. Fix: say"):
        from_pyg(three, labels={"mu": "moment"}, units={"mu": "D"})
    dipole = from_pyg(three, labels={"mu": "moment"}, units={"mu": "D"}, per_atom=[])
    assert dipole.labels["mu"].shape == (2, 3)
    charges = from_pyg(three, labels={"q": "moment"}, units={"q": "e"}, per_atom=["q"])
    assert charges.labels["q"].shape == (6,) and charges.per_atom == {"q"}
    with pytest.raises(DataError, match="it is not per atom"):
        from_pyg(entries(), labels={"q": "moment"}, units={"q": "e"}, per_atom=["q"])


def test_given_edges_are_sorted_by_target_with_their_attributes():
    store = from_pyg(entries(), **LABELS, edges="given", inputs=["edge_attrs"])
    graph = store.graph([3, 1])
    assert graph.edge_index.tolist() == [[1, 2, 0, 0, 7, 8, 6, 6], [0, 0, 1, 2, 6, 6, 7, 8]]
    assert graph.edge_attrs[:, 0].tolist() == [31, 32, 30, 33, 11, 12, 10, 13] and graph.cutoff is None


def test_periodic_entries_as_torch_geometric_concatenates_them():
    made = entries(2)
    for k, entry in enumerate(made):
        entry.cell, entry.pbc = torch.eye(3) * (10 + k), torch.tensor([True, False, True])
    store = from_pyg(made, **LABELS)
    assert store.cell[:, 0, 0].tolist() == [10, 11] and store.pbc[1].tolist() == [True, False, True]


@pytest.mark.parametrize(("options", "message"), [
    ({"labels": {"E": "y2"}, "units": {"E": "eV"}}, "no tensor 'y2'; it has: .*energy"),
    ({"labels": {"E": ("y", 5)}, "units": {"E": "eV"}}, "no column 5"),
    ({"labels": {"E": "energy"}, "units": {}}, "unit of 'E' is not given"),
    ({"labels": {"E": "weight"}, "units": {"E": "eV"}}, "neither per structure nor per atom"),
    ({"labels": {}, "units": {}, "inputs": ["edge_attrs"]}, "edges='given'"),
])
def test_what_is_missing_is_named(options, message):
    with pytest.raises(DataError, match=message):
        from_pyg(entries(), **options)


def test_edges_beyond_the_structure_are_refused():
    made = entries(2)
    made[1].edge_index = torch.tensor([[0, 4], [1, 0]])
    made[0].edge_index = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(DataError, match=r"structure 1 has 4 atoms but an edge \[4, 0\]"):
        from_pyg(made, labels={}, units={}, edges="given")
