"""Reference outputs: predictions recorded when a model was saved, recomputed to notice that a package changed them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import ase
import ase.build
import numpy as np
import torch

from zoo.cards.card import Card
from zoo.cards.measured import ReferenceOutputs, Structure
from zoo.errors import WeightsError
from zoo.graph.graph import Graph

if TYPE_CHECKING:
    from zoo.model.model import Model

__all__ = ["check_reference_outputs", "record_reference_outputs", "reference_output_errors", "structure_atoms"]

_CANDIDATES = ("CH3CH2OH", "CH3CONH2", "H2O", "CH4")
# Rounding of a float32 forward, and of a float64 one; wide enough for another BLAS, far below a changed convention.
_RELATIVE = {"float32": 2e-4, "float64": 1e-8}
_PROCESSORS = {"float32": 1e-5, "float64": 0.0}
"""Processors differ by this share of the largest number at least: they sum in another order."""


def record_reference_outputs(model: Model) -> list[dict[str, Any]]:
    """Outputs of a float64 model for a small structure of its domain, in float32 and float64.

    None for a model that reads features nobody but its author can make up, such as ``node_attrs``.
    """
    if model.card is not None and set(model.card.inputs) - {"charge", "spin"}:
        return []
    structure = _example(model)
    recorded = []
    for dtype in ("float32", "float64"):
        outputs = _outputs(model, structure_atoms(structure), dtype)
        spread = {name: float(model.readouts[name].constants.scale) for name in model.readouts}
        recorded.append({"structure": structure, "dtype": dtype, "outputs": outputs,
                         "atol": _RELATIVE[dtype] * max(1.0, *spread.values()), "rtol": _RELATIVE[dtype] * 1e-2})
    return recorded


def check_reference_outputs(model: Model, card: Card) -> None:
    """Repeat every reference output of a card with a float64 model.

    Raises:
        WeightsError: one differs by more than its tolerance, or there is none.
    """
    if not card.golden:
        raise WeightsError(f"{card.name}: its card records no reference outputs (key 'golden'). "
                           "Fix: load it with verify='hash', or save it again.")
    for recorded in card.golden:
        for name, (expected, found, error, bound) in reference_output_errors(model, recorded).items():
            if not error <= bound:
                raise WeightsError(
                    f"{card.name}: reference output '{name}' in {recorded.dtype} is {found} and was {expected} when "
                    f"the model was saved (difference {error:.3g}, allowed {bound:.3g}). Some package under the model "
                    f"has changed its results; torch is {torch.__version__}. Fix: install the versions that "
                    "saved it.")


def reference_output_errors(model: Model, recorded: ReferenceOutputs) -> dict[str, tuple[Any, Any, float, float]]:
    """Output → (expected, found, largest difference, bound)."""
    found = _outputs(model, structure_atoms(recorded.structure), recorded.dtype)
    errors = {}
    for name, expected in recorded.outputs.items():
        difference = float(np.max(np.abs(np.asarray(found[name]) - np.asarray(expected))))
        relative = max(recorded.rtol, _PROCESSORS[recorded.dtype])
        bound = recorded.atol + relative * float(np.max(np.abs(np.asarray(expected))))
        errors[name] = (expected, found[name], difference, bound)
    return errors


def structure_atoms(structure: str | Structure) -> ase.Atoms:
    """The structure of recorded outputs."""
    if isinstance(structure, str):
        return ase.build.molecule(structure)
    atoms = ase.Atoms(structure.symbols, positions=structure.positions, cell=structure.cell, pbc=structure.pbc)
    for name in ("charge", "spin"):
        if getattr(structure, name) is not None:
            atoms.info[name] = getattr(structure, name)
    return atoms


def _example(model: Model) -> str | Structure:
    known = {ase.data.chemical_symbols[z] for z in model.elements}
    inputs = () if model.card is None else model.card.inputs
    if not inputs:
        for name in _CANDIDATES:
            if set(ase.build.molecule(name).get_chemical_symbols()) <= known:
                return name
    symbols = sorted(known)[:4]
    symbols = [symbols[k % len(symbols)] for k in range(4)]
    positions = [[0.0, 0.0, 0.0], [1.9, 0.2, 0.0], [0.1, 2.1, 0.3], [0.4, 0.5, 2.2]]
    optional: dict[str, Any] = {name: 0.0 for name in ("charge", "spin") if name in inputs}
    return Structure(symbols=symbols, positions=positions, **optional)


def _outputs(model: Model, atoms: ase.Atoms, dtype: str) -> dict[str, Any]:
    inputs = () if model.card is None else tuple(model.card.inputs)
    graph = Graph.from_atoms(atoms, dtype=torch.float64, device=model.device, inputs=inputs)
    derivatives = ["forces"] if model.energy_target is not None else []
    # A copy, since a model that was cast down and up again keeps rounded constants.
    model = model if dtype == "float64" else copy.deepcopy(model).to(getattr(torch, dtype))
    with torch.no_grad():
        out = model(graph, derivatives)
    single = {name for name, kind in model.output_types.items() if kind.per == "structure"}
    return {name: (value[0] if name in single else value).double().cpu().tolist() for name, value in out.items()}
