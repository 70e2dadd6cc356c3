"""Store: a data set as flat columns, from which a batch is one index gather."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.data.edge_table import EdgeTable
from zoo.data.files import read_columns, write_columns
from zoo.data.ragged import Gather, as_rows, gathers, select
from zoo.errors import DataError
from zoo.graph.graph import Graph

__all__ = ["Store"]

_COLUMNS = ("z", "pos", "ptr", "ids", "cell", "pbc", "charge", "spin", "node_attrs", "node_vectors")
_EDGE_COLUMNS = ("ptr", "index", "shift", "attrs")
"""Columns of the stored format, by the names of the fields that hold them."""

_PER_ATOM_INPUTS = ("node_attrs", "node_vectors")
_PER_STRUCTURE_INPUTS = ("cell", "pbc", "charge", "spin")


@dataclass(frozen=True, eq=False)
class Store:
    """A data set of M structures with A atoms in all, as flat tensors on one device.

    Attributes:
        z: (A,) uint8, atomic numbers.
        pos: (A, 3) float, Å.
        ptr: (M + 1,) int64, first atom of each structure.
        ids: (M,) int64, identity of each structure that survives any reordering (QM9: the gdb index).
        labels: float64 columns by name: (M, ...) per structure, or (A, ...) for the names in ``per_atom``.
            NaN marks a label that a structure does not have.
        units: unit of every label, in the zoo's canonical units.
        per_atom: names of the labels that have one row per atom.
        cell, pbc, charge, spin: (M, 3, 3) Å, (M, 3) bool, (M,), (M,); optional inputs.
        node_attrs, node_vectors: (A, a), (A, b, 3); optional inputs.
        edges: precomputed or given edges, see :class:`zoo.data.edge_table.EdgeTable`.
        meta: plain JSON: name, theory, license, citation, source … ``kinds`` names the kinds of structures where there
            are several: ``{"label": NAME, "names": [...]}``, the label being the place of a structure's kind in names.
    """

    z: Tensor
    pos: Tensor
    ptr: Tensor
    ids: Tensor
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    per_atom: frozenset[str] = frozenset()
    cell: Tensor | None = None
    pbc: Tensor | None = None
    charge: Tensor | None = None
    spin: Tensor | None = None
    node_attrs: Tensor | None = None
    node_vectors: Tensor | None = None
    edges: EdgeTable | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_shapes(self)

    # -- sizes -------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.ptr.shape[0] - 1

    def __repr__(self) -> str:
        edges = "no edges" if self.edges is None else f"{self.edges.index.shape[1]:,} edges"
        return (f"Store({self.meta.get('name', 'unnamed')}: {len(self):,} structures, {self.z.shape[0]:,} atoms, "
                f"{edges}; labels {', '.join(self.labels) or 'none'})")

    @property
    def device(self) -> torch.device:
        return self.pos.device

    @cached_property
    def n_atoms(self) -> Tensor:
        """(M,) int64, atoms of each structure."""
        return self.ptr.diff()

    @cached_property
    def n_edges(self) -> Tensor:
        """(M,) int64, directed edges of each structure; raises ``DataError`` without edges."""
        if self.edges is None:
            raise DataError(f"{self!r} has no edges. Fix: zoo.data.with_edges(store, cutoff) makes them")
        return self.edges.ptr.diff()

    @cached_property
    def elements(self) -> list[int]:
        """Atomic numbers that occur, ascending."""
        return torch.unique(self.z).tolist()

    def composition(self, elements: Sequence[int] | None = None) -> Tensor:
        """(M, len(elements)) int64, atoms of each element in each structure (all that occur by default)."""
        elements = self.elements if elements is None else elements
        owner = torch.repeat_interleave(torch.arange(len(self), device=self.device), self.n_atoms)
        counts = torch.bincount(owner * 256 + self.z.long(), minlength=len(self) * 256).view(len(self), 256)
        return counts[:, list(elements)]

    # -- batches -----------------------------------------------------------------------------------------------

    def graph(self, rows: Tensor | Sequence[int], *, dtype: torch.dtype = torch.float32) -> Graph:
        """The structures ``rows`` (B,) as one batch, with their edges if the store has them.

        Index gathers on the store's device; with ``rows`` on the CPU a CUDA store is read without a
        synchronisation. ``rows`` may repeat.
        """
        rows = as_rows(rows)
        columns = [(self.ptr, self._host_ptr)]
        if self.edges is not None:
            columns.append((self.edges.ptr, self.edges.host_ptr))
        take, *of_edges = gathers(rows, *columns)
        batch, atom, here = take.owner, take.index, take.rows
        optional: dict[str, Any] = {}
        for name in _PER_ATOM_INPUTS:
            optional[name] = select(getattr(self, name), atom, dtype)
        for name in _PER_STRUCTURE_INPUTS:
            optional[name] = select(getattr(self, name), here, None if name == "pbc" else dtype)
        if self.edges is not None:
            optional |= _edges_of(self.edges, of_edges[0], take.start, dtype)
        return Graph(
            z=self.z.index_select(0, atom).long(),
            pos=self.pos.index_select(0, atom).to(dtype),
            batch=batch,
            ptr=take.ptr,
            **optional,
        )

    def labels_of(self, rows: Tensor | Sequence[int], names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """float64 labels of the structures ``rows``: (B, ...) each, or (N, ...) in atom order for per-atom labels."""
        rows = as_rows(rows)
        names = list(self.labels) if names is None else list(names)
        (take,) = gathers(rows, (self.ptr, self._host_ptr))
        index = {name: take.index if name in self.per_atom else take.rows for name in names}
        return {n: self._label(n).index_select(0, index[n]) for n in names}

    def _label(self, name: str) -> Tensor:
        if name not in self.labels:
            raise DataError(f"{self.meta.get('name', 'the store')} has no label '{name}'; "
                            f"it has: {', '.join(self.labels) or 'none'}. Fix: name one of these.")
        return self.labels[name]

    @cached_property
    def _host_ptr(self) -> Tensor:
        return self.ptr.cpu()

    # -- change ------------------------------------------------------------------------------------------------

    def to(self, device: torch.device | str) -> Store:
        """All columns on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def subset(self, rows: Tensor | Sequence[int]) -> Store:
        """The structures ``rows``, in that order, as a store of their own."""
        rows = as_rows(rows)
        (take,) = gathers(rows, (self.ptr, self._host_ptr))
        here = take.rows
        atom_wise = set(_PER_ATOM_INPUTS)
        inputs: dict[str, Any] = {
            n: select(getattr(self, n), take.index if n in atom_wise else here)
            for n in (*_PER_ATOM_INPUTS, *_PER_STRUCTURE_INPUTS)
        }
        edges = None
        if self.edges is not None:
            (cut,) = gathers(rows, (self.edges.ptr, self.edges.host_ptr))
            edges = replace(
                self.edges, ptr=cut.ptr, index=self.edges.index.index_select(1, cut.index),
                shift=select(self.edges.shift, cut.index), attrs=select(self.edges.attrs, cut.index),
            )
        return replace(self, z=self.z[take.index], pos=self.pos[take.index], ptr=take.ptr, ids=self.ids[here],
                       labels=self.labels_of(rows), edges=edges, **inputs)

    def _map(self, change: Any) -> Store:
        """Apply ``change`` to every tensor."""
        changed: dict[str, Any] = {
            f.name: change(value) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)
        }
        changed["labels"] = {name: change(value) for name, value in self.labels.items()}
        if self.edges is not None:
            own = {f.name: getattr(self.edges, f.name) for f in fields(self.edges)}
            changed["edges"] = EdgeTable(**{n: change(v) if isinstance(v, Tensor) else v for n, v in own.items()})
        return replace(self, **changed)

    # -- in and out --------------------------------------------------------------------------------------------

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write ``store.safetensors`` and ``store.json`` into ``folder``, which appears by rename.

        Raises:
            DataError: the folder exists and ``overwrite`` is not set.
        """
        header = {
            "structures": len(self),
            "atoms": self.z.shape[0],
            "labels": {n: {"unit": self.units[n], "per_atom": n in self.per_atom} for n in self.labels},
            "edges": None if self.edges is None else {"cutoff": self.edges.cutoff, "count": self.edges.index.shape[1]},
            "meta": dict(self.meta),
        }
        columns = {name: getattr(self, name) for name in _COLUMNS}
        columns |= {f"labels.{name}": value for name, value in self.labels.items()}
        if self.edges is not None:
            columns |= {f"edges.{name}": getattr(self.edges, name) for name in _EDGE_COLUMNS}
        return write_columns(Path(folder), columns, header, overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | Path, *, verify: bool | None = None) -> Store:
        """Open a saved store, memory-mapped: columns are read when they are first used.

        ``verify`` checks the sha256; by default only files below 16 MB, sizes always.

        Raises:
            DataError: no store there, one of a newer format, or a file that is not what the header promises.
        """
        columns, header = read_columns(Path(folder), verify=verify)
        labels = header["labels"]
        missing = [n for n in ("z", "pos", "ptr", "ids", *(f"labels.{n}" for n in labels)) if n not in columns]
        if missing:
            raise DataError(f"the store in {folder} lacks the columns {', '.join(missing)} that its header lists. "
                            "Fix: make the store again")
        edges = None
        if header["edges"] is not None:
            of_edges: dict[str, Any] = {name: columns.get(f"edges.{name}") for name in _EDGE_COLUMNS}
            edges = EdgeTable(cutoff=header["edges"]["cutoff"], **of_edges)
        own: dict[str, Any] = {name: columns.get(name) for name in _COLUMNS}
        return cls(
            **own,
            labels={name: columns[f"labels.{name}"] for name in labels},
            units={name: entry["unit"] for name, entry in labels.items()},
            per_atom=frozenset(name for name, entry in labels.items() if entry["per_atom"]),
            edges=edges,
            meta=header["meta"],
        )

    @classmethod
    def from_tensors(
        cls, z: Tensor, pos: Tensor, *, n_atoms: Tensor, ids: Tensor | None = None, **columns: Any
    ) -> Store:
        """From flat tensors and the atoms per structure (M,); ids default to 0 … M − 1."""
        n_atoms = n_atoms.long()
        ptr = torch.cat([n_atoms.new_zeros(1), n_atoms.cumsum(0)])
        ids = torch.arange(len(n_atoms), device=z.device) if ids is None else ids.long()
        return cls(z=z.to(torch.uint8), pos=pos, ptr=ptr, ids=ids, **columns)


def _edges_of(edges: EdgeTable, take: Gather, first_atom: Tensor, dtype: torch.dtype) -> dict[str, Any]:
    """Fields of a graph of the structures taken, whose atoms start at ``first_atom``."""
    offset = first_atom.index_select(0, take.owner)
    return {
        "edge_index": edges.index.index_select(1, take.index).long() + offset,
        "edge_shift": select(edges.shift, take.index, dtype),
        "edge_attrs": select(edges.attrs, take.index, dtype),
        "cutoff": edges.cutoff,
    }


def _check_shapes(store: Store) -> None:
    n_structures, n_atoms = len(store), store.z.shape[0]
    expected = {"pos": (n_atoms, 3), "ids": (n_structures,), "cell": (n_structures, 3, 3), "pbc": (n_structures, 3),
                "charge": (n_structures,), "spin": (n_structures,)}
    for name, shape in expected.items():
        value = getattr(store, name)
        if value is not None and tuple(value.shape) != shape:
            raise DataError(f"column '{name}' of the store has shape {tuple(value.shape)}; expected {shape}. "
                        "Fix: give the column this shape.")
    for name in _PER_ATOM_INPUTS:
        value = getattr(store, name)
        if value is not None and value.shape[0] != n_atoms:
            raise DataError(f"column '{name}' of the store has {value.shape[0]} rows; expected one per atom, "
                        f"{n_atoms}. "
                        "Fix: give one row for every atom.")
    for name, value in store.labels.items():
        rows, of = (n_atoms, "atom") if name in store.per_atom else (n_structures, "structure")
        if value.shape[0] != rows:
            raise DataError(f"label '{name}' has {value.shape[0]} rows; expected one per {of}, {rows}. "
                        f"Fix: give one row for every {of}.")
        if value.dtype != torch.float64:
            raise DataError(f"label '{name}' is {value.dtype}; labels are kept in float64. Fix: convert it to float64.")
        if name not in store.units:
            raise DataError(f"label '{name}' has no unit. Fix: give units={{'{name}': …}}.")
