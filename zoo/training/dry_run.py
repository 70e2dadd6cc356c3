"""`--fast-dev-run`: two steps, an evaluation and a checkpoint; reports shapes, units, references, gradients, memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from zoo.errors import TrainingError

if TYPE_CHECKING:
    import numpy as np

    from zoo.training.loop import Trainer

__all__ = ["DryRun", "dry_run"]


@dataclass(frozen=True)
class DryRun:
    """Result of a dry run; ``lines`` describe it."""

    lines: list[str]
    without_gradient: list[str]
    step_bytes: int


def dry_run(trainer: Trainer, spread: Mapping[str, float]) -> DryRun:
    """Two steps on the largest batch of the first epoch, an evaluation, a checkpoint written and read back.

    Args:
        trainer: of a run in a temporary folder.
        spread: standard deviation of each target without references.

    Raises:
        TrainingError: outputs have another shape than the labels, or a step fails.
    """
    batches = trainer.plan(0)
    largest = max(batches, key=lambda rows: int(trainer.cost(rows).sum()))
    lines = [_data(trainer, batches), *_targets(trainer, spread), *_shapes(trainer, largest)]
    kept = _SavedBytes()
    with torch.autograd.graph.saved_tensors_hooks(kept.note, lambda tensor: tensor):
        trainer.try_steps(largest, 1)
    missing = trainer.try_steps(largest, 1)
    parameters = 5 * sum(p.numel() * p.element_size() for p in trainer.model.parameters())
    needed = kept.bytes + parameters
    lines.append(f"memory: a step on the largest batch ({len(largest)} molecules, {int(trainer.cost(largest).sum()):,} "
                 f"edges and atoms) keeps about {needed / 2**20:,.0f} MiB of activations, gradients and moments")
    if missing:
        shown = ", ".join(missing[:8]) + (" …" if len(missing) > 8 else "")
        lines.append(f"note: {len(missing)} parameters got no gradient, and will not change: {shown}")
    metrics = trainer.evaluate_rows(trainer.val_rows[:64])
    lines.append("validation of 64 molecules: " + ", ".join(f"{k} {v:.4g}" for k, v in metrics.items()))
    trainer.save()
    if trainer.ranks.first:
        trainer.checkpoints.read(trainer.checkpoints.steps()[-1])
        lines.append("a checkpoint was written and read back")
    return DryRun(lines, missing, needed)


def _data(trainer: Trainer, batches: list) -> str:
    costs = [int(trainer.cost(rows).sum()) for rows in batches]
    return (f"data: {len(trainer.train_rows):,} to train on, {len(trainer.val_rows):,} to validate; {len(batches):,} "
            f"steps an epoch, of {min(costs):,} to {max(costs):,} edges and atoms")


def _targets(trainer: Trainer, spread: Mapping[str, float]) -> list[str]:
    lines = []
    for name, loss in trainer.recipe.losses.items():
        unit = trainer.store.units[name]
        left = f", {spread[name]:.4g} {unit} left by the references" if name in spread else ""
        known = int(trainer.store.labels[name].isfinite().reshape(len(trainer.store.labels[name]), -1).all(1).sum())
        lines.append(f"{name} [{unit}]: {loss.kind}, weight {loss.weight:g}, {known:,} labels{left}")
    return lines


def _shapes(trainer: Trainer, rows: np.ndarray) -> list[str]:
    part = torch.from_numpy(rows[:8])
    graph = trainer.prefetcher(rows[:8])
    trainer.model.eval()
    outputs = trainer.model(graph, trainer.criterion.derivatives, partial_stress=True)
    labels = trainer.store.labels_of(part, trainer.recipe.losses)
    for name, label in labels.items():
        if outputs[name].shape != label.shape:
            raise TrainingError(f"'{name}': the model gives the shape {tuple(outputs[name].shape)} for 8 molecules of "
                                f"{graph.num_nodes} atoms, the data hold {tuple(label.shape)}. Fix: give "
                                f"'{name}' a readout of that shape in the card's targets")
    return [f"{name}: shape {tuple(label.shape)} for {len(part)} molecules" for name, label in labels.items()
            if label.dim() > 1]


class _SavedBytes:
    """Counts the bytes that autograd keeps for the backward pass of one step, each storage once."""

    def __init__(self) -> None:
        self.bytes = 0
        self._seen: set[int] = set()

    def note(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.bytes += storage.nbytes()
        return tensor
