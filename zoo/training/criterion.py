"""The loss: standardised labels on the device, and sums over labels divided by counts over all ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import TrainingError
from zoo.process.transfer import sent
from zoo.training import parts
from zoo.training.recipe import Loss, ValidationMetric

if TYPE_CHECKING:
    from zoo.data import Store
    from zoo.model.model import Model

__all__ = ["Criterion"]

_CHUNK = 8192


class Criterion:
    """Loss of a model's outputs against a store's labels.

    Labels of all targets per structure are standardised once, into one matrix (M, D) in the model's dtype with a column
    for each component, so that a step gathers rows of it; those per atom in a store of their own. Forces and stress are
    compared in eV/Å and eV/Å³.

    Args:
        losses: per target, and ``forces``, ``stress`` where they are trained on.
        metrics: plugins' metrics, by name.
    """

    def __init__(self, model: Model, store: Store, losses: Mapping[str, Loss], *, dtype: torch.dtype,
                 device: torch.device | str = "cpu", metrics: Mapping[str, ValidationMetric] | None = None) -> None:
        self.names = [name for name in losses if name in model.readouts]
        self.atomic = [name for name in self.names if model.output_types[name].per == "atom"]
        self.whole = [name for name in self.names if name not in self.atomic]
        self.derivatives = tuple(name for name in ("forces", "stress") if name in losses)
        self.losses = dict(losses)
        self._penalties = {name: _penalty(loss) for name, loss in losses.items()}
        self._measures = {name: (metric.of, parts.make("metric", metric.kind, metric.options))
                          for name, metric in (metrics or {}).items()}
        self.store = store
        self.dtype, self.device = dtype, device
        self.refresh(model)
        self.columns = _columns(model, self.whole)
        self._n_atoms = store.n_atoms.to(device=self.labels.device, dtype=dtype)
        self._known = self._known_labels(store)
        self.missing = bool(self.labels.isnan().any()) or any(
            bool(store.labels[name].isnan().any()) for name in (*self.atomic, *self.derivatives))

    def refresh(self, model: Model) -> None:
        """Standardise the labels with the constants that the model holds now."""
        self.labels, atomic = _standardised(model, self.store, self.whole, self.atomic, self.dtype)
        self.labels = self.labels.to(self.device)
        # Labels per atom or of derivatives, which are gathered by atom.
        raw = {name: self.store.labels[name] for name in self.derivatives}
        self.gathered = replace(self.store, edges=None, labels={**raw, **atomic},
                                units=dict.fromkeys((*raw, *atomic), "1"))
        self.scales = {name: float(model.readouts[name].constants.scale) for name in self.names}

    # -- one batch ---------------------------------------------------------------------------------------------

    def counts(self, rows: Tensor) -> dict[str, float]:
        """Labels of every kind in a *global* batch (all ranks, all micro-batches): the denominators of the loss."""
        return {name: float(known[rows].sum()) for name, known in self._known.items()}

    def loss(self, outputs: Mapping[str, Tensor], rows: Tensor, counts: Mapping[str, float]) -> Tensor:
        """Weighted sum of the batch's losses, each divided by its global count."""
        total: Tensor | None = None
        for name, residual, _ in self._residuals(outputs, rows):
            if counts[name]:
                penalty = self._penalty(name, residual, rows)
                part = self.losses[name].weight / counts[name] * penalty.sum()
                total = part if total is None else total + part
        if total is None:
            # A batch without any label adds 0, but still needs a backward pass.
            total = 0 * torch.cat([value.flatten() for value in outputs.values()]).sum()
        return total

    # -- validation --------------------------------------------------------------------------------------------

    @property
    def metric_names(self) -> list[str]:
        return [*self.names, *self.derivatives]

    @property
    def num_sums(self) -> int:
        """Length of :meth:`errors`."""
        return 3 * len(self.metric_names) + len(self._measures)

    def errors(self, outputs: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        """Sums in float64: penalties, absolute residuals in physical units, and counts, of each of the
        :attr:`metric_names`; then those of plugins' metrics."""
        sums, measured = [], dict.fromkeys(self._measures, torch.zeros((), dtype=torch.float64, device=self.device))
        for name, residual, known in self._residuals(outputs, rows):
            penalty, scale = self._penalty(name, residual, rows), self.scales.get(name, 1.0)
            absolute = residual.abs().sum().double() * scale
            count = known.sum().double() if known is not None else torch.full_like(absolute, residual.numel())
            sums += [penalty.sum().double(), absolute, count]
            for own, (of, function) in self._measures.items():
                if of == name:
                    value = _same_shape(function(residual * scale), residual, f"metric '{own}'")
                    measured[own] = (value if known is None else value[known]).sum().double()
        return torch.stack([*sums, *measured.values()])

    def metrics(self, sums: Tensor) -> dict[str, float]:
        """Validation loss and MAE per target from summed :meth:`errors`."""
        metrics, loss = {}, 0.0
        counts = {}
        three, own = sums[: 3 * len(self.metric_names)], sums[3 * len(self.metric_names) :].tolist()
        for name, (penalty, absolute, count) in zip(self.metric_names, three.reshape(-1, 3).tolist()):
            counts[name] = count
            if count:
                metrics[f"{name}.mae"] = absolute / count
                loss += self.losses[name].weight * penalty / count
        metrics |= {name: value / counts[of] for (name, (of, _)), value in zip(self._measures.items(), own)
                    if counts[of]}
        return {"loss": loss, **metrics}

    # -- parts -------------------------------------------------------------------------------------------------

    def _residuals(self, outputs: Mapping[str, Tensor], rows: Tensor) -> list[tuple[str, Tensor, Tensor | None]]:
        """(name, residual, which labels there are) of each metric; a missing label has the residual 0, and ``None``
        says that none is missing."""
        standardised = self.labels.index_select(0, sent(rows, self.labels.device))
        gathered = self.gathered.labels_of(rows) if self.gathered.labels else {}
        found = []
        for name in self.metric_names:
            if name in gathered:
                label, predicted = gathered[name].to(outputs[name]), outputs[name]
            else:
                label, predicted = standardised[:, self.columns[name]], outputs[name].reshape(len(rows), -1)
            residual, known = predicted - label, None
            if self.missing:
                # Only where the *label* is missing: a prediction that is not finite has to show.
                known = label.isfinite()
                residual = residual.where(known, torch.zeros_like(residual))
            found.append((name, residual, known))
        return found

    def _penalty(self, name: str, residual: Tensor, rows: Tensor) -> Tensor:
        of = self._per_atom(residual, name, rows)
        return _same_shape(self._penalties[name](of), of, f"loss '{self.losses[name].kind}' of '{name}'")

    def _per_atom(self, residual: Tensor, name: str, rows: Tensor) -> Tensor:
        if name in self.gathered.labels or not self.losses[name].per_atom:
            return residual
        n_atoms = self._n_atoms.index_select(0, sent(rows, self._n_atoms.device))
        return residual / n_atoms[:, None].to(residual)

    def _known_labels(self, store: Store) -> dict[str, Tensor]:
        """(M,) finite labels of every kind that each structure has; on the host, where batches are planned."""
        finite = self.labels.isfinite()
        known = {name: finite[:, self.columns[name]].sum(1).cpu() for name in self.whole}
        for name, value in self.gathered.labels.items():
            each = value.isfinite().flatten(1).sum(1) if value.dim() > 1 else value.isfinite().long()
            if name in store.per_atom:
                running = F.pad(each.cumsum(0), (1, 0))
                each = running.index_select(0, store.ptr[1:]) - running.index_select(0, store.ptr[:-1])
            known[name] = each.cpu()
        return known


def _penalty(loss: Loss) -> Callable[[Tensor], Tensor]:
    """residual → penalty, label by label."""
    if loss.kind == "l1":
        return torch.abs
    if loss.kind == "l2":
        return torch.square
    if loss.kind == "huber":
        return lambda residual: F.huber_loss(residual, torch.zeros_like(residual), reduction="none", delta=loss.delta)
    return parts.make("loss", loss.kind, loss.options)


def _same_shape(value: Tensor, residual: Tensor, what: str) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != residual.shape:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise TrainingError(f"{what} gives {found} for residuals of the shape {tuple(residual.shape)}. Fix: return one "
                            "number for each residual; the zoo takes the mean itself.")
    return value


def _columns(model: Model, names: Sequence[str]) -> dict[str, slice]:
    columns, start = {}, 0
    for name in names:
        width = math.prod(model.output_types[name].shape)
        columns[name] = slice(start, start + width)
        start += width
    return columns


def _standardised(model: Model, store: Store, whole: Sequence[str], atomic: Sequence[str], dtype: torch.dtype
                  ) -> tuple[Tensor, dict[str, Tensor]]:
    """Standardised labels of the store, computed in float64: (M, D) of targets ``whole``, (A, …) of each ``atomic``."""
    bare = replace(store, edges=None)
    parts = [torch.zeros(len(store), 0, dtype=dtype)] if not whole else []
    by_atom: dict[str, list[Tensor]] = {name: [] for name in atomic}
    for rows in torch.arange(len(store)).split(_CHUNK):
        graph = bare.graph(rows, dtype=torch.float64).to(model.device)
        composition = model.composition(graph)
        labels = store.labels_of(rows, [*whole, *atomic])
        made = {name: model.readouts[name].standardise(label.to(model.device), graph, composition)
                for name, label in labels.items()}
        if whole:
            parts.append(torch.cat([made[name].reshape(len(rows), -1) for name in whole], 1).to(dtype))
        for name in atomic:
            by_atom[name].append(made[name].to(store.device))
    return torch.cat(parts), {name: torch.cat(values) for name, values in by_atom.items()}
