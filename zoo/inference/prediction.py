"""Prediction: structures of any accepted type are checked and batched; the result is one dict for each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

import ase
import numpy as np
import torch

from zoo.errors import MissingExtraError, StructureError, ZooError
from zoo.graph.batching import cut, join
from zoo.graph.graph import Graph
from zoo.inference.potential import frozen
from zoo.inference.results import Prediction, Predictions
from zoo.model.checks import Scope, check_finite, check_structure
from zoo.model.feature_hook import FeatureHook
from zoo.model.plausible import implausible
from zoo.model.stress import why_no_stress
from zoo.process.memory import halved_on_out_of_memory, is_out_of_memory
from zoo.structures.inputs import graphs_or_errors
from zoo.uncertainty import ErrorModel, describe, find

if TYPE_CHECKING:
    from zoo.model.model import Model

__all__ = ["as_table", "predict"]

log = logging.getLogger("zoo")

_DEFAULT_ATOMS = 4096
_NOT_COMPUTED = ("uncertainty", "outside", "edge_index")  # entries of a prediction that are not results of the model


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
        structures: one ``ase.Atoms``, :class:`~zoo.graph.Graph`, torch-geometric ``Data`` or SMILES, or a sequence of
            these. A ``Graph`` or ``Batch`` of several structures counts as a sequence. Of a SMILES, the lowest of ten
            conformers is taken; :func:`zoo.predict_smiles` has more choices.
        derivatives: any of ``"forces"`` (eV/Å) and ``"stress"`` (eV/Å³, per volume of the given cell; of structures
            with a periodic direction).
        per_atom: add ``atomic_energies``, the energy of each atom with its reference.
        uncertainty: add ``uncertainty``, target → half-width of an interval that covers 90 % of the errors, and
            ``outside``, the reasons why a structure is out of distribution, empty if it is not; both ``None``
            for a model without error estimates. See :mod:`zoo.uncertainty`.
        as_frame: a pandas table of the scalar targets, one row a structure; half-widths as ``U0_uncertainty``.
        max_atoms: atoms per batch; a batch is halved and retried when memory runs out.
        on_error: ``"keep"`` returns the :class:`~zoo.errors.ZooError` of a structure that cannot be predicted in its
            place and continues with the others.
        progress: called with the number of structures done after each batch.

    Returns:
        A dict target → float or array in ``model.units`` for one structure; a list of such dicts in order for several.
        A target per atom is an array (n_atoms, …); one per edge (n_edges, …), with the edges as ``edge_index``
        (2, n_edges), source and target atom of each.

    Raises:
        StructureError: empty or not finite, atoms too close to each other, elements outside the model's domain,
            periodicity, charge or spin that the model does not know, or a result that is not finite or beyond anything
            that the property can be (:func:`zoo.model.plausible.implausible`); says which structure and which atoms.
    """
    if on_error not in ("raise", "keep"):
        raise ZooError(f"on_error is {on_error!r}. Fix: give 'raise' or 'keep'.")
    with torch.inference_mode(False):
        return _predict(model, structures, tuple(derivatives), per_atom, uncertainty, as_frame, max_atoms, on_error,
                        progress)


def _predict(model: Model, structures: Any, derivatives: Sequence[str], per_atom: bool, uncertainty: bool,
             as_frame: bool, max_atoms: int, on_error: str, progress: Callable[[int], None] | None) -> Any:
    _log_coverage(model)
    error_model = find(model) if uncertainty else None
    scope = Scope.of(model)
    single, found = graphs_or_errors(scope, structures)
    stress_reasons = _without_stress(scope, structures, found) if "stress" in derivatives else {}
    results: list[Any] = [None] * len(found)
    graphs: dict[int, Graph] = {}
    names = [f"structure {index}" for index in range(len(found))] if len(found) > 1 else ["the structure"]
    for index, graph in enumerate(found):
        try:
            if isinstance(graph, ZooError):
                raise graph
            check_structure(scope, graph, names[index])
            if index in stress_reasons:
                raise StructureError(f"{names[index]}: {stress_reasons[index]}")
            graphs[index] = graph
        except ZooError as error:
            if on_error == "raise":
                raise
            results[index] = error
    done = len(found) - len(graphs)
    # Structures with edges from the caller are batched apart from those whose neighbour list is computed.
    kinds = [[i for i in graphs if (graphs[i].edge_index is None) == made] for made in (True, False)]
    parts = [[kind[k] for k in part] for kind in kinds for part in cut([graphs[i].num_nodes for i in kind], max_atoms)]
    for rows in parts:
        for index, value in zip(rows, _run(model, [graphs[i] for i in rows], derivatives, per_atom, error_model)):
            try:
                if isinstance(value, str):
                    reason = value
                    raise StructureError(f"{names[index]}: {reason}")
                check_finite({key: part for key, part in value.items() if key not in _NOT_COMPUTED}, names[index])
            except StructureError as error:
                if on_error == "raise":
                    raise
                results[index] = error
                continue
            if uncertainty:
                value = Prediction({"uncertainty": None, "outside": None, **value}, model.units)
            results[index] = value
        done += len(rows)
        if progress is not None:
            progress(done)
    if as_frame:
        return as_table(results)
    return results[0] if single else Predictions(results, model.units)


def _without_stress(scope: Scope, structures: Any, graphs: Sequence[Graph | StructureError]) -> dict[int, str]:
    """Index of each structure that has no stress → the reason."""
    given = structures if isinstance(structures, (list, tuple)) else [structures]
    reasons = {index: "stress needs a periodic direction. Fix: set cell and pbc." for index, graph in enumerate(graphs)
               if isinstance(graph, Graph) and (graph.pbc is None or not bool(graph.pbc.any()))}
    # A batch among the items of the list stands for several structures.
    counts = [1] * len(given) if len(given) == len(graphs) else [len(graphs_or_errors(scope, g)[1]) for g in given]
    for first, item in zip(accumulate(counts, initial=0), given):
        reason = why_no_stress(item) if isinstance(item, ase.Atoms) else None
        if reason is not None:
            reasons[first] = reason
    return reasons


def _run(model: Model, graphs: list[Graph], derivatives: Sequence[str], per_atom: bool,
         error_model: ErrorModel | None = None) -> list[Prediction | str]:
    """One batch; halved when memory runs out. Text in the place of a prediction says why it cannot be right."""

    def forward(part: list[Graph]) -> list[Prediction | str]:
        try:
            return _forward(model, join(part).to(model.device), derivatives, per_atom, error_model)
        except (MemoryError, RuntimeError) as error:
            if len(part) > 1 or not is_out_of_memory(error):
                raise
            raise StructureError(f"a structure of {part[0].num_nodes} atoms does not fit in the memory of "
                                 f"{model.device}. Fix: use a device with more memory, or a smaller "
                                 "structure.") from error

    return [p for _, predictions in halved_on_out_of_memory(forward, graphs) for p in predictions]


def _forward(model: Model, graph: Graph, derivatives: Sequence[str], per_atom: bool,
             error_model: ErrorModel | None) -> list[Prediction | str]:
    # Frozen, so that the operations chosen, and with them the last digits, do not depend on what other threads compute.
    per: dict[str, str] = {name: kind.per for name, kind in model.output_types.items()}
    with frozen(model), torch.no_grad():
        if "edge" in per.values():
            graph = model.with_vectors(graph)
        with FeatureHook(model) as hook:
            out = model(graph, derivatives)
        reasons = implausible(model, out, graph)
        estimate = None if error_model is None else error_model(describe(model, graph, hook.features))
        if per_atom and model.energy_target is not None:
            out["atomic_energies"] = model.atomic_energies(graph)
    arrays = {name: value.cpu().double().numpy() for name, value in out.items()}
    per |= dict.fromkeys(("forces", "atomic_energies"), "atom")
    bounds = {"atom": graph.ptr.tolist()}
    if "edge" in per.values():
        bounds["edge"] = _edge_bounds(graph)
    predictions = [
        Prediction({name: _slice(array, b, bounds.get(per.get(name, "structure"))) for name, array in arrays.items()},
                   model.units)
        for b in range(graph.num_graphs)
    ]
    if "edge" in bounds:
        pairs = torch.stack([graph.source, graph.target]).cpu().numpy()
        for b, prediction in enumerate(predictions):
            prediction["edge_index"] = pairs[:, slice(*bounds["edge"][b : b + 2])] - bounds["atom"][b]
    if estimate is not None:
        for b, prediction in enumerate(predictions):
            prediction["uncertainty"] = {name: float(width[b]) for name, width in estimate.widths.items()}
            prediction["outside"] = estimate.out_of_distribution[b]
    return [reason or prediction for reason, prediction in zip(reasons, predictions)]


def _slice(array: np.ndarray, b: int, bounds: list[int] | None) -> float | np.ndarray:
    """The rows of a structure; its only one without ``bounds``."""
    if bounds is not None:
        return array[bounds[b] : bounds[b + 1]]
    return float(array[b]) if array.ndim == 1 else array[b]


def _edge_bounds(graph: Graph) -> list[int]:
    """First edge of each structure, and the end; edges of a structure are next to each other."""
    counts = torch.bincount(graph.batch.index_select(0, graph.target), minlength=graph.num_graphs)
    return [0, *counts.cumsum(0).tolist()]


def as_table(results: Sequence[Any]) -> Any:
    """A pandas table of results and errors, one row a structure."""
    try:
        import pandas
    except ImportError:
        raise MissingExtraError("as_frame=True", "frames") from None
    return pandas.DataFrame([{"error": str(r)} if isinstance(r, ZooError) else _flat(r) for r in results])


def _flat(result: Prediction) -> dict[str, Any]:
    widths = result.get("uncertainty") or {}
    row = {k: v for k, v in result.items() if isinstance(v, (int, float, str))}
    row |= {f"{target}_uncertainty": width for target, width in widths.items()}
    return row | ({"outside": "; ".join(result["outside"])} if result.get("outside") is not None else {})


def _log_coverage(model: Model) -> None:
    """Log, once per model, which structures its card says predictions are valid for."""
    if model.card is not None and model.card.domain.reach and not getattr(model, "_coverage_logged", False):
        log.warning("%s: values hold for %s", model.card.name, model.card.domain.reach)
        model.__dict__["_coverage_logged"] = True
