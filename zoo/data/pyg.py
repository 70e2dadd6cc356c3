"""torch-geometric data sets as stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from zoo.data.edges import given_edges
from zoo.data.frames import stored_unit
from zoo.data.store import Store
from zoo.errors import DataError
from zoo.units import factor

__all__ = ["from_pyg"]


def from_pyg(
    dataset: Any,
    *,
    labels: Mapping[str, str | tuple[str, int]],
    units: Mapping[str, str],
    inputs: Iterable[str] = (),
    edges: Literal["make", "given"] = "make",
    per_atom: Iterable[str] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Store:
    """A store of an ``InMemoryDataset`` (or a list of ``Data``) with ``z`` and ``pos``.

    Args:
        labels: label → field, or (field, column) such as ``("y", 7)``.
        units: label → unit of the data; converted as in :func:`zoo.data.frames.from_atoms`.
        inputs: of ``charge``, ``spin``, ``node_attrs``, ``node_vectors``, and ``edge_attrs`` with given edges.
        edges: ``"given"`` keeps the data set's ``edge_index``; otherwise it is dropped, since it is usually a bond
            graph rather than a neighbour list.
        per_atom: the labels that are per atom. By default they are recognised by their size; name them if that is
            ambiguous, as for a dipole of three numbers and molecules of three atoms.

    Raises:
        DataError: a field, column or unit is missing, or a field is neither per structure nor per atom.
    """
    fields, slices, count = _collated(dataset)
    z, pos = (_field(fields, name) for name in ("z", "pos"))
    n_atoms = slices["pos"].diff() if slices else torch.tensor([len(pos)])
    columns: dict[str, Tensor] = {}
    atom_wise = set()
    for label, where in labels.items():
        if label not in units:
            raise DataError(f"the unit of '{label}' is not given; a unit is never guessed. "
                        f"Fix: give units={{'{label}': …}}.")
        name, column = (where, None) if isinstance(where, str) else where
        atomic = None if per_atom is None else label in per_atom
        value, atomic = _rows(_field(fields, name), name, slices, n_atoms, atomic)
        if column is not None:
            if value.dim() < 2 or not -value.shape[1] <= column < value.shape[1]:
                raise DataError(f"'{name}' has shape {tuple(value.shape)}: there is no column {column}. "
                        f"Fix: choose a column that exists.")
            value = value[:, column]
        elif value.dim() == 2 and value.shape[1] == 1:
            value = value[:, 0]
        columns[label] = value.double() * factor(units[label], stored_unit(units[label]))
        if atomic:
            atom_wise.add(label)
    optional: dict[str, Any] = {}
    if fields.get("cell") is not None:
        if fields.get("pbc") is None:
            raise DataError("the data set has cells but no 'pbc'. "
                        "Fix: add pbc, which says which directions are periodic.")
        optional = {"cell": fields["cell"].reshape(count, 3, 3), "pbc": fields["pbc"].reshape(count, 3).bool()}
    inputs = set(inputs)
    if edges == "given":
        index = _field(fields, "edge_index")
        counts = slices["edge_index"].diff() if slices else torch.tensor([index.shape[1]])
        attrs = _field(fields, "edge_attrs") if "edge_attrs" in inputs else None
        optional["edges"] = given_edges(counts, index, n_atoms, attrs)
    elif "edge_attrs" in inputs:
        raise DataError("edge_attrs belong to edges that the caller gives. Fix: add edges='given'.")
    for name in inputs - {"edge_attrs"}:
        value = _field(fields, name)
        optional[name] = value.reshape(count) if name in ("charge", "spin") else value
    return Store.from_tensors(
        z.reshape(-1), pos, n_atoms=n_atoms, labels=columns, per_atom=frozenset(atom_wise),
        units={label: stored_unit(units[label]) for label in labels}, meta=dict(meta or {}), **optional,
    )


def _collated(dataset: Any) -> tuple[Mapping[str, Any], Mapping[str, Tensor] | None, int]:
    """Concatenated fields and the start of each structure in them."""
    from torch_geometric.data import Data, InMemoryDataset

    if isinstance(dataset, InMemoryDataset):
        # A subset such as dataset[:100] shares the storage of the whole set; a copy has only its own part.
        dataset = dataset.copy() if dataset._indices is not None else dataset
        data, slices = dataset._data, dataset.slices
    else:
        parts = [dataset] if isinstance(dataset, Data) else list(dataset)
        if not parts:
            raise DataError("the data set is empty. Fix: give at least one structure.")
        data, slices = InMemoryDataset.collate(parts)
    if slices is None:
        return data.to_dict(), None, 1
    return data.to_dict(), slices, len(slices["pos"]) - 1 if "pos" in slices else 0


def _field(fields: Mapping[str, Any], name: str) -> Tensor:
    value = fields.get(name)
    if not isinstance(value, Tensor):
        raise DataError(f"the data set has no tensor '{name}'; it has: {', '.join(fields)}. Fix: name one of these.")
    return value


def _rows(value: Tensor, name: str, slices: Mapping[str, Tensor] | None, n_atoms: Tensor, atomic: bool | None
          ) -> tuple[Tensor, bool]:
    """(one row per structure or per atom, whether per atom) of a concatenated field."""
    counts = slices[name].diff() if slices else torch.tensor([value.shape[0] if value.dim() else 1])
    size, structures = int(counts[0]), len(n_atoms)
    of_atoms = torch.equal(counts, n_atoms)
    shape: tuple[int, ...] | None = None
    if bool((counts == 1).all()):
        shape = (structures, *value.shape[1:])
    elif value.dim() == 1 and bool((counts == size).all()):
        shape = (structures, size)
    elif tuple(value.shape[1:]) == (3,) and bool((counts == 3).all()):
        shape = (structures, 3, 3)
    if atomic is None and of_atoms and shape is not None:
        raise DataError(f"'{name}' has as many rows as each structure has atoms, {size}. "
                        f"Fix: say whether it belongs to the "
                        f"atoms, per_atom=['{name}'], or not, per_atom=[]")
    if of_atoms and atomic is not False:
        return value, True
    if shape is not None and not atomic:
        return value.reshape(shape), False
    raise DataError(f"'{name}' has {value.shape[0]} rows for {structures} structures with {int(n_atoms.sum())} atoms: "
                    f"it is {'not per atom' if atomic else 'neither per structure nor per atom'}. "
                        "Fix: correct per_atom, or give one row per structure or per atom.")
