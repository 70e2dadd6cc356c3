"""Against divergence: clipped gradients, steps left out because of a spike of the loss, the error of a NaN."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor, nn

from zoo.errors import TrainingError

if TYPE_CHECKING:
    from zoo.training.log import Log
    from zoo.training.progress import Progress
    from zoo.training.recipe import Spike

__all__ = ["clip_gradients", "is_spike", "not_finite", "validation_not_finite"]

_SHOWN_IDS = 64


def clip_gradients(model: nn.Module, limit: float | None) -> Tensor:
    """Scale the gradients so that their global norm is at most ``limit``; returns the norm () before that."""
    trained = [p for p in model.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
    if limit is not None:
        nn.utils.clip_grads_with_norm_(trained, limit, norm)
    return norm


def is_spike(loss: float, progress: Progress, rule: Spike | None, log: Log) -> bool:
    """Whether to leave this step out: its loss is far above the running mean.

    Raises:
        TrainingError: too many such steps in a row.
    """
    if rule is None or progress.typical_loss == 0 or loss <= rule.factor * progress.typical_loss:
        progress.skipped_in_a_row = 0
        return False
    progress.skipped, progress.skipped_in_a_row = progress.skipped + 1, progress.skipped_in_a_row + 1
    log.record("skip", step=progress.step, loss=loss, typical=progress.typical_loss)
    if progress.skipped_in_a_row >= rule.limit:
        raise TrainingError(f"{progress.skipped_in_a_row} steps in a row had a loss above {rule.factor:g} times the "
                            f"usual {progress.typical_loss:.4g}: the run has diverged. Fix: lower lr")
    return True


def not_finite(loss: float, norm: float, *, ids: list[int], step: int, kept: list[int]) -> TrainingError:
    """The error of a batch whose loss or gradient is not finite.

    Args:
        norm: of the gradient.
        ids: of the batch's structures.
        step: of this batch.
        kept: steps of the checkpoints.
    """
    what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {norm}"
    shown = ", ".join(map(str, ids[:_SHOWN_IDS])) + (f", … ({len(ids)} in all)" if len(ids) > _SHOWN_IDS else "")
    return TrainingError(f"{what} is not finite at step {step}, in the batch with ids {shown}. "
                         f"{_kept(kept)}. Fix: lower lr or clip_norm, or leave those structures out")


def validation_not_finite(loss: float, model: nn.Module, *, step: int, kept: list[int]) -> TrainingError:
    """The error of a validation loss that is not finite: a step can leave such weights, and they are not saved.

    Args:
        model: with the weights that were validated.
        kept: steps of the checkpoints.
    """
    broken = [name for name, value in model.named_parameters() if not bool(value.isfinite().all())]
    where = (f"{len(broken)} parameters are not finite, such as {broken[0]}" if broken else
             "the weights are finite, and a structure of the validation split has no finite prediction")
    return TrainingError(f"the validation loss is {loss} at step {step}: {where}. {_kept(kept)}. Fix: "
                         + ("lower lr or clip_norm" if broken else "check the structures of the validation split"))


def _kept(steps: list[int]) -> str:
    return f"The checkpoint of step {steps[-1]} is good" if steps else "No checkpoint was written yet"
