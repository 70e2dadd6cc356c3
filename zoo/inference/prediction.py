"""Predict: structures of any kind in, checked, batched, one dict of plain numbers per structure out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import ase
import ase.data
import numpy as np
import torch
from torch import Tensor

from zoo.errors import MissingExtraError, StructureError, ZooError
from zoo.graph.graph import Graph
from zoo.process.memory import halved_on_out_of_memory, is_out_of_memory
from zoo.uncertainty import ErrorModel, FeatureHook, describe, find

if TYPE_CHECKING:
    from zoo.model.model import Model

__all__ = ["MIN_DISTANCE", "check_structure", "predict", "to_graphs"]

log = logging.getLogger("zoo")

Prediction = dict[str, Any]

MIN_DISTANCE = 0.1  # Å; no two nuclei of any data set are this close
_DEFAULT_ATOMS = 4096
_NAMED = 5


def predict(
    model: Model,
    structures: Any,
    *,
    derivatives: Sequence[str] = (),
    per_atom: bool = False,
    uncertainty: bool = False,
    as_frame: bool = False,
    max_atoms: int = _DEFAULT_ATOMS,
    on_error: Literal["raise", "keep"] = "raise",
    progress: Callable[[int], None] | None = None,
) -> Any:
    """Predict every target of a model.

    Args:
        structures: one ``ase.Atoms``, :class:`~zoo.graph.Graph` or torch-geometric ``Data``, or a sequence of these.
            A ``Graph`` or ``Batch`` of several structures counts as a sequence.
        derivatives: any of ``"forces"`` (eV/Å) and ``"stress"`` (eV/Å³).
        per_atom: add ``atomic_energies``, the energy of each atom with its reference.
        uncertainty: add ``uncertainty``, target → half-width of the interval that is to hold 90 % of all errors, and
            ``outside``, the reasons why a structure lies outside the training data, empty for one that lies inside;
            both ``None`` for a model without error estimates. See :mod:`zoo.uncertainty`.
        as_frame: a pandas table of the scalar targets, one row a structure; half-widths as ``U0_uncertainty``.
        max_atoms: atoms per batch; halved and retried when memory runs out.
        on_error: ``"keep"`` puts the :class:`~zoo.errors.ZooError` of a structure that cannot be predicted in its
            place and goes on with the others.
        progress: called with the number of structures done after each batch.

    Returns:
        A dict target → float or array in ``model.units`` for one structure; a list of such dicts in order for several.

    Raises:
        StructureError: empty or not finite, atoms that coincide, elements outside the model's domain, periodicity,
            charge or spin that the model does not know; says which structure and which atoms.
    """
    _say_limits(model)
    error_model = find(model) if uncertainty else None
    single, graphs = to_graphs(model, structures)
    results: list[Any] = [None] * len(graphs)
    good = []
    for index, graph in enumerate(graphs):
        try:
            check_structure(model, graph, f"structure {index}" if len(graphs) > 1 else "the structure")
            good.append(index)
        except ZooError as error:
            if on_error == "raise":
                raise
            results[index] = error
    done = len(graphs) - len(good)
    # Structures whose edges the caller gave do not go into one batch with those whose edges are found.
    kinds = [[i for i in good if (graphs[i].edge_index is None) == found] for found in (True, False)]
    for rows in (part for kind in kinds for part in _cut(kind, [g.num_nodes for g in graphs], max_atoms)):
        for index, value in zip(rows, _run(model, [graphs[i] for i in rows], derivatives, per_atom, error_model)):
            results[index] = {"uncertainty": None, "outside": None, **value} if uncertainty else value
        done += len(rows)
        if progress is not None:
            progress(done)
    if as_frame:
        return _frame(results)
    return results[0] if single else results


def to_graphs(model: Model, structures: Any) -> tuple[bool, list[Graph]]:
    """Whether one structure was meant, and one float64 Graph on the CPU per structure."""
    inputs = () if model.card is None else tuple(model.card.inputs)
    if isinstance(structures, (list, tuple)):
        return False, [g for item in structures for g in _one(item, inputs)]
    graphs = _one(structures, inputs)
    is_pyg_batch = not isinstance(structures, Graph) and hasattr(structures, "ptr")
    return len(graphs) == 1 and not is_pyg_batch, graphs


def _one(item: Any, inputs: Sequence[str]) -> list[Graph]:
    if isinstance(item, ase.Atoms):
        graph = Graph.from_atoms(item, dtype=torch.float64, inputs=inputs)
        return [_with_undeclared(graph, item.info, inputs)]
    if isinstance(item, Graph):
        return list(_split(item.to("cpu", torch.float64)))
    if hasattr(item, "pos") and hasattr(item, "keys"):
        graph = Graph.from_data(item, inputs=inputs)
        return list(_split(_with_undeclared(graph, item, inputs).to("cpu", torch.float64)))
    raise StructureError(f"cannot read a structure from {type(item).__name__}: expected ase.Atoms, zoo.Graph, "
                         "torch_geometric Data, or a list of these")


def _with_undeclared(graph: Graph, holder: Any, inputs: Sequence[str]) -> Graph:
    """The graph with a charge or spin that its model does not read, so that :func:`check_structure` can refuse it."""
    for name in ("charge", "spin"):
        if name not in inputs and name in holder and np.size(holder[name]) == graph.num_graphs:
            value = torch.as_tensor(np.asarray(holder[name], dtype=np.float64).reshape(-1)).to(graph.pos)
            graph = graph.replace(**{name: value})
    return graph


def _split(graph: Graph) -> Iterator[Graph]:
    """The structures of a batch one by one; edges are made anew unless the caller gave them (no cut-off known)."""
    given = graph.edge_index is not None and graph.cutoff is None
    for b in range(graph.num_graphs):
        lo, hi = int(graph.ptr[b]), int(graph.ptr[b + 1])
        optional = {n: v[lo:hi] for n in ("node_attrs", "node_vectors") if (v := getattr(graph, n)) is not None}
        optional |= {n: v[b : b + 1] for n in ("cell", "pbc", "charge", "spin") if (v := getattr(graph, n)) is not None}
        if given:
            own = (graph.target >= lo) & (graph.target < hi)
            optional["edge_index"] = torch.stack([graph.source[own], graph.target[own]]) - lo
            optional |= {n: v[own] for n in ("edge_shift", "edge_attrs") if (v := getattr(graph, n)) is not None}
        yield Graph.from_tensors(graph.z[lo:hi], graph.pos[lo:hi], **optional)


def check_structure(model: Model, graph: Graph, name: str) -> None:
    """Refuse what a model cannot take, naming the atoms.

    Raises:
        StructureError: see :func:`predict`.
    """
    if graph.num_nodes == 0:
        raise StructureError(f"{name} is empty: it has no atoms")
    broken = torch.nonzero(~graph.pos.isfinite().all(1))[:, 0].tolist()
    if broken:
        raise StructureError(f"{name}: positions of atom {_list(broken)} are not finite")
    if graph.cell is not None and not bool(graph.cell.isfinite().all()):
        raise StructureError(f"{name}: its cell is not finite")
    _check_inputs(model, graph, name)
    _check_elements(model, graph, name)
    if graph.pbc is not None and bool(graph.pbc.any()) and model.card is not None and not model.card.domain.pbc:
        raise StructureError(f"{name} is periodic, and {model.card.name} was made for molecules: "
                             "set atoms.pbc = False if the cell is only a box around a molecule")
    _check_distances(graph, name)


def _check_inputs(model: Model, graph: Graph, name: str) -> None:
    inputs = () if model.card is None else model.card.inputs
    for field in inputs:
        if getattr(graph, field) is None:
            raise StructureError(f"{name} lacks the input '{field}' that the model's card declares")
    for field in ("charge", "spin"):
        value = getattr(graph, field)
        if field not in inputs and value is not None and bool((value != 0).any()):
            raise StructureError(f"{name} has {field} {float(value[0]):g}, and this model knows neutral closed-shell "
                                 f"structures only: its card declares no input '{field}'")


def _check_elements(model: Model, graph: Graph, name: str) -> None:
    z = graph.z.tolist()
    unknown = [i for i, number in enumerate(z) if number not in model.elements]
    if unknown:
        symbols = sorted({_symbol(z[i]) for i in unknown})
        known = ", ".join(_symbol(number) for number in model.elements)
        raise StructureError(f"{name}: {', '.join(symbols)} (atom {_list(unknown)}) is outside the domain of the "
                             f"model, which knows {known}")


def _symbol(number: int) -> str:
    return ase.data.chemical_symbols[number] if 0 <= number < len(ase.data.chemical_symbols) else f"Z={number}"


def _check_distances(graph: Graph, name: str) -> None:
    from zoo.graph.neighbors import add_edges

    close = add_edges(graph.replace(edge_index=None, edge_attrs=None), MIN_DISTANCE)
    if close.num_edges:
        i, j = sorted((int(close.source[0]), int(close.target[0])))
        raise StructureError(f"{name}: atoms {i} and {j} are closer than {MIN_DISTANCE} Å; do two atoms coincide?")


def _list(indices: Sequence[int]) -> str:
    more = f" and {len(indices) - _NAMED} more" if len(indices) > _NAMED else ""
    return ", ".join(map(str, indices[:_NAMED])) + more


def _cut(rows: Sequence[int], sizes: Sequence[int], max_atoms: int) -> Iterator[list[int]]:
    """Consecutive rows whose atoms fit the budget; one structure at least."""
    part: list[int] = []
    total = 0
    for row in rows:
        if part and total + sizes[row] > max_atoms:
            yield part
            part, total = [], 0
        part.append(row)
        total += sizes[row]
    if part:
        yield part


def _run(model: Model, graphs: list[Graph], derivatives: Sequence[str], per_atom: bool,
         error_model: ErrorModel | None = None) -> list[Prediction]:
    """One batch; halved when memory runs out."""

    def forward(part: list[Graph]) -> list[Prediction]:
        try:
            return _forward(model, _join(part).to(model.device), derivatives, per_atom, error_model)
        except (MemoryError, RuntimeError) as error:
            if len(part) > 1 or not is_out_of_memory(error):
                raise
            raise StructureError(f"a structure of {part[0].num_nodes} atoms does not fit in the memory of "
                                 f"{model.device}") from error

    return [p for _, predictions in halved_on_out_of_memory(forward, graphs) for p in predictions]


def _join(graphs: list[Graph]) -> Graph:
    """Several one-structure graphs as one batch."""
    optional: dict[str, Tensor] = {}
    for name in ("node_attrs", "node_vectors", "charge", "spin"):
        if all(getattr(g, name) is not None for g in graphs):
            optional[name] = torch.cat([getattr(g, name) for g in graphs])
    if any(g.pbc is not None for g in graphs):
        optional["cell"] = torch.cat([torch.eye(3, dtype=g.dtype)[None] if g.cell is None else g.cell for g in graphs])
        optional["pbc"] = torch.cat([torch.zeros(1, 3, dtype=torch.bool) if g.pbc is None else g.pbc for g in graphs])
    n_atoms = torch.tensor([g.num_nodes for g in graphs])
    joined = Graph.from_tensors(
        torch.cat([g.z for g in graphs]), torch.cat([g.pos for g in graphs]), n_atoms=n_atoms, **optional
    )
    if all(g.edge_index is not None for g in graphs):
        joined = joined.replace(edge_index=torch.cat([g.edge_index + start for g, start in zip(graphs, joined.ptr)], 1))
        if any(g.edge_shift is not None for g in graphs):
            joined = joined.replace(edge_shift=torch.cat(
                [g.pos.new_zeros(g.num_edges, 3) if g.edge_shift is None else g.edge_shift for g in graphs]))
        attrs = [g.edge_attrs for g in graphs if g.edge_attrs is not None]
        if len(attrs) == len(graphs):
            joined = joined.replace(edge_attrs=torch.cat(attrs))
    return joined


def _forward(model: Model, graph: Graph, derivatives: Sequence[str], per_atom: bool,
             error_model: ErrorModel | None) -> list[Prediction]:
    with torch.no_grad():
        with FeatureHook(model) as hook:
            out = model(graph, derivatives)
        estimate = None if error_model is None else error_model(describe(model, graph, hook.features))
        if per_atom and model.energy_target is not None:
            out["atomic_energies"] = model.atomic_energies(graph)
    arrays = {name: value.cpu().double().numpy() for name, value in out.items()}
    bounds = graph.ptr.tolist()
    predictions: list[Prediction] = [
        {name: _slice(name, array, b, bounds) for name, array in arrays.items()} for b in range(graph.num_graphs)
    ]
    if estimate is not None:
        for b, prediction in enumerate(predictions):
            prediction["uncertainty"] = {name: float(width[b]) for name, width in estimate.widths.items()}
            prediction["outside"] = estimate.out_of_distribution[b]
    return predictions


def _slice(name: str, array: np.ndarray, b: int, bounds: list[int]) -> float | np.ndarray:
    if name in ("forces", "atomic_energies"):
        return array[bounds[b] : bounds[b + 1]]
    return float(array[b]) if array.ndim == 1 else array[b]


def _frame(results: list[Any]) -> Any:
    try:
        import pandas
    except ImportError:
        raise MissingExtraError("as_frame=True", "frames") from None
    return pandas.DataFrame([{"error": str(r)} if isinstance(r, ZooError) else _flat(r) for r in results])


def _flat(result: Prediction) -> dict[str, Any]:
    widths = result.get("uncertainty") or {}
    row = {k: v for k, v in result.items() if np.ndim(v) == 0 and k not in ("uncertainty", "outside")}
    row |= {f"{target}_uncertainty": width for target, width in widths.items()}
    return row | ({"outside": "; ".join(result["outside"])} if result.get("outside") is not None else {})


def _say_limits(model: Model) -> None:
    """Once per model: what its predictions hold for, as its card says."""
    if model.card is not None and model.card.domain.reach and not getattr(model, "_limits_said", False):
        log.warning("%s: values hold for %s", model.card.name, model.card.domain.reach)
        model.__dict__["_limits_said"] = True
