"""Graph: a batch of structures as flat tensors, the one input of every model."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from zoo.errors import StructureError
from zoo.graph.cells import cells_and_pbc
from zoo.graph.tracing import is_traced

if TYPE_CHECKING:
    import ase
    from torch_geometric.data import Data

__all__ = ["Graph"]

T = TypeVar("T")

_TOPOLOGY = frozenset(("z", "batch", "ptr", "edge_index", "edge_shift"))
_FAR = 4096.0  # Å: beyond it, neighboring float32 numbers are more than 2e-4 apart
_PER_GRAPH = ("cell", "pbc", "charge", "spin")


@dataclass(frozen=True, eq=False)
class Graph:
    """A batch of B structures with N atoms and E directed edges. Field names are those of torch-geometric.

    Attributes:
        z: (N,) int64, atomic numbers.
        pos: (N, 3) float, Å.
        batch: (N,) int64, structure of each atom, sorted.
        ptr: (B + 1,) int64, first atom of each structure.
        cell: (B, 3, 3) float, Å, rows are lattice vectors; absent for molecules.
        pbc: (B, 3) bool, periodic directions; absent for molecules.
        charge, spin: (B,) float, total charge in e and number of unpaired electrons; optional.
        node_attrs: (N, a) float, scalar features S; optional.
        node_vectors: (N, b, 3) float, geometric features V that rotate with the structure; optional.
        edge_index: (2, E) int64, rows source j and target i, sorted by target, every image, never truncated.
        edge_shift: (E, 3) float, integer lattice translations S, with x_ij = pos[j] + S·cell − pos[i]; absent
            when all are zero.
        edge_attrs: (E, d) float, aligned with a caller-given ``edge_index``; optional.
        edge_vec, edge_len: (E, 3) and (E,) float, Å: x_ij and its norm, made by :class:`zoo.model.model.Model` with
            autograd history. A backbone reads these and never ``pos``.
        cutoff: radius in Å that ``edge_index`` was made with; ``None`` for edges given by the caller.
    """

    z: Tensor
    pos: Tensor
    batch: Tensor
    ptr: Tensor
    cell: Tensor | None = None
    pbc: Tensor | None = None
    charge: Tensor | None = None
    spin: Tensor | None = None
    node_attrs: Tensor | None = None
    node_vectors: Tensor | None = None
    edge_index: Tensor | None = None
    edge_shift: Tensor | None = None
    edge_attrs: Tensor | None = None
    edge_vec: Tensor | None = None
    edge_len: Tensor | None = None
    cutoff: float | None = None
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False)
    _topology: dict[Any, Any] = field(default_factory=dict, repr=False)

    # -- sizes -------------------------------------------------------------------------------------------------

    @property
    def num_nodes(self) -> int:
        return self.z.shape[0]

    @property
    def num_graphs(self) -> int:
        return self.ptr.shape[0] - 1

    @property
    def num_edges(self) -> int:
        return 0 if self.edge_index is None else self.edge_index.shape[1]

    @property
    def device(self) -> torch.device:
        return self.pos.device

    @property
    def dtype(self) -> torch.dtype:
        return self.pos.dtype

    @cached_property
    def source(self) -> Tensor:
        """(E,) index j of each edge's source."""
        return self._edges()[0]

    @cached_property
    def target(self) -> Tensor:
        """(E,) index i of each edge's target, sorted."""
        return self._edges()[1]

    def _edges(self) -> Tensor:
        if self.edge_index is None:
            raise StructureError("this graph has no edges. Fix: make them with zoo.graph.add_edges or Graph.with_edges")
        return self.edge_index

    @property
    def edge_ptr(self) -> Tensor:
        """(N + 1,) first incoming edge of each atom."""
        return self.memoize("ptr", self._edge_ptr, edges_only=True)

    def _edge_ptr(self) -> Tensor:
        # Not bincount, for whose result a GPU is waited for.
        return torch.searchsorted(self.target, torch.arange(self.num_nodes + 1, device=self.target.device))

    def memoize(self, key: Hashable, make: Callable[[], T], *, edges_only: bool = False) -> T:
        """``make()``, computed once per graph and kept under ``key``.

        Args:
            key: unique to what is computed and to its options, for example ``("triplets", cutoff)``.
            edges_only: the value follows from the edges and the number of atoms alone, not from positions. It is then
                shared by all copies of the graph with the same edges, as in the steps of a simulation.
        """
        # Values computed while a graph is recorded are symbolic and must not be cached beyond the recording.
        known = self._topology if edges_only and not is_traced() else self._cache
        if key not in known:
            known[key] = make()
        return known[key]

    # -- change ------------------------------------------------------------------------------------------------

    def replace(self, **changes: Any) -> Graph:
        """A copy with some fields changed; cached quantities derived from these are dropped."""
        topology = {} if _TOPOLOGY & changes.keys() else self._topology
        return replace(self, **changes, _cache={}, _topology=topology)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Graph:
        """Move to a device; ``dtype`` applies to floating-point fields only."""

        def move(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return value.to(device=device, dtype=dtype if value.is_floating_point() else None)

        return replace(self, **{f.name: move(getattr(self, f.name)) for f in fields(self) if f.name[0] != "_"},
                       _cache={}, _topology={})

    def usable(self) -> Graph:
        """A copy whose tensors were not made in inference mode, so that autograd takes them; called outside of it."""
        copies: dict[str, Any] = {f.name: value.clone() for f in fields(self)
                                  if isinstance(value := getattr(self, f.name), Tensor) and value.is_inference()}
        return replace(self, **copies, _cache={}, _topology={}) if copies else self

    def structures(self) -> Iterator[Graph]:
        """The B structures of the batch one by one, each with its own edges (those that end in its atoms)."""
        bounds = self.ptr.tolist()
        for b, (lo, hi) in enumerate(pairwise(bounds)):
            own = {n: v[lo:hi] for n in ("node_attrs", "node_vectors") if (v := getattr(self, n)) is not None}
            own |= {n: v[b : b + 1] for n in _PER_GRAPH if (v := getattr(self, n)) is not None}
            if self.edge_index is not None:
                rows = (self.target >= lo) & (self.target < hi)
                own["edge_index"] = self.edge_index[:, rows] - lo
                own |= {n: v[rows] for n in ("edge_shift", "edge_attrs") if (v := getattr(self, n)) is not None}
            yield Graph.from_tensors(self.z[lo:hi], self.pos[lo:hi], cutoff=self.cutoff, **own)

    # -- in and out --------------------------------------------------------------------------------------------

    @classmethod
    def from_tensors(cls, z: Tensor, pos: Tensor, *, n_atoms: Tensor | None = None, **optional: Any) -> Graph:
        """From flat tensors; ``n_atoms`` (B,) gives the atoms per structure (one structure if absent).

        Raises:
            StructureError: ``n_atoms`` sums to another number of atoms, on the CPU.
        """
        if n_atoms is None:
            n_atoms = torch.tensor([z.shape[0]], device=z.device)
        ptr = torch.cat([n_atoms.new_zeros(1), n_atoms.cumsum(0)]).long()
        if z.device.type == "cpu" and not is_traced() and int(ptr[-1]) != z.shape[0]:
            raise StructureError(f"n_atoms counts {int(ptr[-1])} atoms, and z has {z.shape[0]}. "
                                 "Fix: give one number of atoms for each structure")
        batch = torch.repeat_interleave(torch.arange(len(n_atoms), device=z.device), n_atoms, output_size=z.shape[0])
        return cls(z=z.long(), pos=pos, batch=batch, ptr=ptr, **optional)

    @classmethod
    def from_atoms(
        cls,
        atoms: ase.Atoms | Sequence[ase.Atoms],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        inputs: Iterable[str] = (),
    ) -> Graph:
        """From ASE structures.

        ``cell`` and ``pbc`` are set when any structure is periodic. Optional ``inputs`` are read from ``atoms.info``
        (per structure) or ``atoms.arrays`` (per atom).

        Raises:
            StructureError: a declared input is missing, the list is empty, or an atom is so far from the origin
                (4,096 Å) that its position would be rounded.
        """
        frames = list(atoms) if isinstance(atoms, Sequence) else [atoms]
        if not frames:
            raise StructureError("no structure given. Fix: give one ase.Atoms or a non-empty list of them")
        z = torch.from_numpy(np.concatenate([a.numbers for a in frames]).astype(np.int64))
        pos = torch.from_numpy(np.concatenate([np.asarray(a.positions, dtype=np.float64) for a in frames]))
        optional: dict[str, Tensor | None] = {name: _read_input(frames, name) for name in inputs}
        periodic = cells_and_pbc(frames)
        if periodic is not None:
            optional["cell"], optional["pbc"] = periodic
        away = pos.abs().max().item() if pos.numel() else 0.0
        if dtype != torch.float64 and _FAR < away < math.inf:  # what is not finite, a model refuses
            raise StructureError(f"an atom is {away:,.3g} Å from the origin, where {dtype} rounds positions by 1e-4 Å "
                                 "and more. Fix: give dtype=torch.float64, or move the structure to the origin")
        n_atoms = torch.tensor([len(a) for a in frames])
        return cls.from_tensors(z, pos, n_atoms=n_atoms, **optional).to(device, dtype)

    @classmethod
    def from_data(cls, data: Data, *, edges: Literal["make", "given"] = "make", inputs: Iterable[str] = ()) -> Graph:
        """From a torch-geometric ``Data`` or ``Batch``.

        A foreign ``edge_index`` is a bond graph more often than a neighbour list, so it is left alone unless
        ``edges="given"``. Concatenated ``cell`` (3B, 3) and ``pbc`` (3B,) are reshaped.

        Raises:
            StructureError: ``z``, ``pos`` or a declared input is missing or mis-shaped.
        """
        z, pos = _require(data, "z"), _require(data, "pos")
        batch = getattr(data, "batch", None)
        if batch is None:
            n_atoms = torch.tensor([z.shape[0]], device=z.device)
        else:
            # A `ptr` counts trailing structures without atoms, which `batch` alone cannot show.
            ptr = getattr(data, "ptr", None)
            n_atoms = ptr.diff() if ptr is not None else torch.bincount(batch)
            if bool((batch.diff() < 0).any()):
                raise StructureError("Data.batch is not sorted. Fix: keep the atoms of a structure together")
        count = n_atoms.shape[0]
        optional: dict[str, Tensor | None] = {}
        if getattr(data, "cell", None) is not None:
            optional["cell"] = _reshape(data.cell, (count, 3, 3), "cell").to(pos.dtype)
            pbc = getattr(data, "pbc", None)
            if pbc is None:
                raise StructureError("Data has a cell but no pbc. "
                                     "Fix: add data.pbc = torch.tensor([[True, True, True]])")
            optional["pbc"] = _reshape(torch.as_tensor(pbc, device=z.device), (count, 3), "pbc").bool()
        for name in inputs:
            value = _require(data, name)
            if name in ("charge", "spin"):
                value = _reshape(value, (count,), name)
            optional[name] = value.to(pos.dtype)
        graph = cls.from_tensors(z.reshape(-1), pos, n_atoms=n_atoms, **optional)
        if edges == "given":
            return graph.with_edges(_require(data, "edge_index"), getattr(data, "edge_shift", None))
        return graph

    def with_edges(self, edge_index: Tensor, edge_shift: Tensor | None = None) -> Graph:
        """This graph with the caller's edges, sorted by target; ``edge_attrs`` is reordered with them."""
        order = torch.argsort(edge_index[1], stable=True)
        return self.replace(
            edge_index=edge_index[:, order],
            edge_shift=None if edge_shift is None else edge_shift[order].to(self.dtype),
            edge_attrs=None if self.edge_attrs is None else self.edge_attrs[order],
            cutoff=None,
        )

    def with_edges_of(self, other: Graph) -> Graph:
        """This graph with the edges of ``other``, a graph of the same atoms, and what has been derived from them."""
        return replace(self, edge_index=other.edge_index, edge_shift=other.edge_shift, edge_vec=None, edge_len=None,
                       cutoff=other.cutoff, _cache={}, _topology=other._topology)

    def to_data(self) -> Data:
        """To a torch-geometric ``Data`` (one structure) or ``Batch``, with the zoo's field names and edges."""
        from torch_geometric.data import Batch, Data

        names = ("z", "pos", "node_attrs", "node_vectors", *_PER_GRAPH, "edge_index", "edge_shift", "edge_attrs")
        parts = [Data(**{name: value for name in names if (value := getattr(part, name)) is not None})
                 for part in self.structures()]
        return parts[0] if len(parts) == 1 else Batch.from_data_list(parts)


def _require(data: Any, name: str) -> Tensor:
    value = getattr(data, name, None)
    if value is None:
        raise StructureError(f"the torch-geometric object has no '{name}'; it holds: {', '.join(data.keys())}. "
                             f"Fix: set data.{name}")
    return value


def _reshape(value: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    if value.numel() != int(np.prod(shape)):
        raise StructureError(f"Data.{name} has shape {tuple(value.shape)}. "
                             f"Fix: give it the shape {shape}, or one with the same number of entries")
    return value.reshape(shape)


def _read_input(frames: list[ase.Atoms], name: str) -> Tensor:
    per_atom = name in ("node_attrs", "node_vectors")
    values = []
    for index, atoms in enumerate(frames):
        holder = atoms.arrays if per_atom else atoms.info
        if name not in holder:
            where = "atoms.arrays" if per_atom else "atoms.info"
            raise StructureError(f"structure {index} lacks the input '{name}' that the model's card declares. "
                                 f"Fix: set {where}['{name}']")
        values.append(np.asarray(holder[name], dtype=np.float64))
    return torch.from_numpy(np.concatenate(values) if per_atom else np.stack(values).reshape(len(frames)))
