"""State of a trainer that a checkpoint stores, and restoring it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from zoo.errors import TrainingError
from zoo.training.schedule import Clock, Plateau

if TYPE_CHECKING:
    from zoo.training.loop import Trainer

__all__ = ["capture", "restore"]


def capture(trainer: Trainer) -> dict[str, Any]:
    """All state besides the weights that later steps depend on: plain data and tensors."""
    return {
        "optimizer": trainer.optimizer.state_dict(),
        "progress": asdict(trainer.progress),
        "clock": trainer.clock.state(),
        "plateau": trainer.plateau.state(),
        "average_updates": trainer.average.updates if trainer.average is not None else 0,
        "machine": trainer.machine,
        "identity": trainer.identity,
        "recipe": trainer.recipe.model_dump_json(by_alias=True),
    }


def restore(trainer: Trainer, step: int) -> None:
    """Restore the state of a trainer from the checkpoint of ``step``.

    Raises:
        TrainingError: the checkpoint is damaged, or of another model or other data.
    """
    model, average, saved = trainer.checkpoints.read(step)
    _check(trainer, saved)
    trainer.model.load_state_dict(model, strict=True)
    trainer.optimizer.load_state_dict(saved["optimizer"])
    if trainer.average is not None and average is not None:
        trainer.average.load(average, saved["average_updates"])
    # The readouts' constants came with the weights; standardise the labels with them.
    trainer.criterion.refresh(trainer.model)
    trainer.progress = type(trainer.progress)(**saved["progress"])
    trainer.plateau = Plateau(**saved["plateau"])
    # The limits may have changed, but not the progress made so far.
    ends = {"total_steps": trainer.clock.total_steps, "hours": trainer.clock.hours}
    trainer.clock = Clock(**(saved["clock"] | ends))


def _check(trainer: Trainer, saved: Mapping[str, Any]) -> None:
    for key, value in trainer.identity.items():
        # Checkpoints of older versions hold no hash of the content.
        if saved["identity"].get(key, value) != value:
            raise TrainingError(f"the checkpoint was made with another {key}: {saved['identity'].get(key)!r}, now "
                                f"{value!r}. Fix: resume with the same card and data, or train into a new folder")
    for key, value in trainer.machine.items():
        # Checkpoints of older versions do not name the device.
        if saved["machine"].get(key, value) != value:
            trainer.message(f"note: {key} was {saved['machine'].get(key)} and is {value} now: the run goes on, but not "
                        "bitwise as it would have")
    if saved["recipe"] != trainer.recipe.model_dump_json(by_alias=True):
        trainer.message("note: the recipe differs from that of the checkpoint; the run goes on with the new one")
