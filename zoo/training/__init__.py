"""One training loop for every family. Importing this package imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["train"]


def train(
    card: str | Path,
    *,
    out: str | Path,
    overrides: Sequence[str] = (),
    data: str | Path | None = None,
    device: str | None = None,
    resume: bool = False,
    fast_dev_run: bool = False,
    force: bool = False,
    quiet: bool = False,
) -> Path:
    """Train the model that a card describes, and write weights and a card of its own into ``out``.

    Args:
        card: path of a card, or the name of a model whose recipe is followed.
        out: folder of the run: ``metrics.jsonl``, ``checkpoints/``, at the end ``card.yaml`` and weights.
        overrides: ``"recipe.lr=3e-4"``-like changes of the card, see :func:`zoo.training.recipe.apply_overrides`.
        data: where the card's data set lies, if not where it is looked for.
        device: ``cpu``, ``cuda``, …; CUDA by default where there is one.
        resume: go on from the last checkpoint in ``out``.
        fast_dev_run: two steps of everything, then stop.
        force: train although the fitted references leave absurd residuals.
        quiet: no progress on the screen.

    Returns the folder.

    Raises:
        TrainingError: an unknown or malformed recipe key, a folder in use, a loss that is not finite.
        DataError: the data cannot be opened, or lack a target.
    """
    from zoo.training.run import run

    return run(card, out=Path(out), overrides=overrides, data=data, device=device, resume=resume,
               fast_dev_run=fast_dev_run, force=force, quiet=quiet).folder
