"""References and scales of targets, fitted on the training split before the first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.errors import PluginError, TrainingError
from zoo.units import factor

if TYPE_CHECKING:
    from zoo.data import Store
    from zoo.model.model import Model

__all__ = ["absurd_residuals", "fit_force_scale", "fit_readouts", "linear_bases", "solve"]

_CHUNK = 8192
_NOTHING: Mapping[str, Tensor] = {}
_ENOUGH = 1_000_000
ABSURD = 10.0
"""Mean residual in eV per atom above which given references cannot belong to the data."""


def fit_readouts(model: Model, store: Store, rows: Tensor, names: Sequence[str], *,
                 given: Mapping[str, Tensor] = _NOTHING, network: Mapping[str, Tensor] = _NOTHING) -> dict[str, float]:
    """Fit each target to its readout's linear basis by least squares over ``rows``, and its scale to the residuals.

    Coefficients and scale are stored in the readouts. Molecules without the label are left out.

    Args:
        given: coefficients (K,) that are used as they are.
        network: (rows, ...) outputs of a trained network, which are subtracted first. Its scale is kept, and its
            coefficients change as little as the labels ask for: an element that does not occur keeps its own.

    Returns the spread (root mean square) of the residuals of each target, in its unit.

    Raises:
        TrainingError: a target has no label in these rows, or its labels are all the same.
    """
    if not network and len(rows) > _ENOUGH:
        rows = rows[:: len(rows) // _ENOUGH + 1]
    labels = store.labels_of(rows, names)
    bases = linear_bases(model, store, rows, names)
    spread = {}
    for name in names:
        y = labels[name].reshape(len(labels[name]), -1)
        if name in network:
            y = y - network[name].reshape(y.shape)
        known = y.isfinite().all(1)
        if not bool(known.any()):
            raise TrainingError(f"no molecule of the training split has the label '{name}'. Fix: take '{name}' out of "
                                "the card's targets, or add molecules that have it")
        # One linear part for all components: basis (…, K) · coefficients (K,).
        y, basis = y[known].reshape(-1, 1), bases[name]
        basis = basis[known].reshape(len(y), -1) if basis.shape[-1] else y.new_zeros(len(y), 0)
        if name in given:
            coefficients = given[name][:, None].to(y)
        else:
            before = model.readouts[name].constants.coefficients[:, None].to(y)
            before = before if name in network else torch.zeros_like(before)
            coefficients = before + solve(basis, y - basis @ before)
        scale = (y - basis @ coefficients).square().mean().sqrt()
        if not float(scale) > 1e-12 * max(1.0, float(y.abs().max())):
            raise TrainingError(f"the label '{name}' is explained by the composition alone: there is nothing to learn. "
                                "Fix: train on molecules of more than one geometry or composition")
        model.readouts[name].set_constants(coefficients=coefficients[:, 0])
        if name not in network:
            model.readouts[name].set_constants(scale=scale)
        spread[name] = float(scale)
    return spread


def fit_force_scale(model: Model, store: Store, rows: Tensor) -> float:
    """Set the scale of the energy to the root mean square of a force component (eV/Å) times 1 Å.

    A network whose output is of order one then has forces of the right size from the start. The spread of energies
    says nothing about them: it is the binding energy where references are isolated atoms, and a tenth of an eV where
    all structures have one composition. Where the head has a bias, it starts at the mean energy per atom that
    references leave, so that no step is needed to learn a constant.

    Returns the scale, in the unit of the energy.
    """
    name = model.required_energy
    readout = model.readouts[name]
    labels = store.labels_of(rows, [name, "forces"])
    scale = float(labels["forces"].double().square().nanmean().sqrt()) / factor(model.units[name], "eV")
    if not scale > 0:
        raise TrainingError("all forces of the training split are zero: there is nothing to learn from them. Fix: take "
                            "forces out of the losses, or check their key in the file")
    readout.set_constants(scale=scale)
    bias = getattr(readout.net[-1], "bias", None)
    if bias is not None:
        basis = linear_bases(model, store, rows, [name])[name]
        left = labels[name] - basis @ readout.constants.coefficients.to(store.device)
        with torch.no_grad():
            bias.fill_(float((left / store.n_atoms[rows]).nanmean()) / scale)
    return scale


def solve(basis: Tensor, y: Tensor) -> Tensor:
    """(K, D) least-squares coefficients, of smallest norm if they are not unique.

    Args:
        basis: (n, K). y: (n, D).
    """
    if basis.shape[1] == 0:
        return y.new_zeros(0, y.shape[1])
    size = basis.square().mean(0).sqrt()
    columns = torch.where(size > 0, size, torch.ones_like(size))
    solution = torch.linalg.lstsq((basis / columns).cpu(), y.cpu(), driver="gelsd").solution
    return solution.to(y.device) / columns[:, None]


def absurd_residuals(model: Model, store: Store, rows: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Extensive energies whose mean residual, per atom, is beyond :data:`ABSURD` eV with the references in place."""
    rows = rows[:_CHUNK]
    labels, bases = store.labels_of(rows, names), linear_bases(model, store, rows, names)
    found = {}
    for name in names:
        readout = model.readouts[name]
        if not readout.extensive or not model.output_types[name].is_scalar or store.units.get(name) != "eV":
            continue
        residual = labels[name] - bases[name] @ readout.constants.coefficients.to(store.device)
        mean = float((residual / store.n_atoms[rows]).nanmean())
        if abs(mean) > ABSURD:
            found[name] = mean
    return found


def linear_bases(model: Model, store: Store, rows: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """(n, *shape, K) linear basis of every target's readout, n atoms for a target per atom."""
    bare = replace(store, edges=None)
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for chunk in rows.split(_CHUNK):
        graph = bare.graph(chunk, dtype=torch.float64).to(model.device)
        composition = model.composition(graph)
        for name in names:
            basis, kind = model.readouts[name].basis(graph, composition), model.output_types[name]
            expected = (kind.rows(graph), *kind.shape)
            if basis.shape[-1] and tuple(basis.shape[:-1]) != expected:
                raise PluginError(f"the basis of {type(model.readouts[name]).__name__} of '{name}' has the shape "
                                  f"{tuple(basis.shape)}; expected {expected} and one column per coefficient. "
                                  "Fix: correct its basis.")
            parts[name].append(basis.double().to(store.device))
    return {name: torch.cat(part) for name, part in parts.items()}
