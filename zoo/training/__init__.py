"""One training loop for every family. Importing this package imports no torch.

Start with ``run.py`` (a training from its card to its card folder) and ``loop.py`` (the steps).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.cards.card import Card

__all__ = ["train"]


def train(
    card: str | Path | Card,
    *,
    out: str | Path,
    overrides: Sequence[str] = (),
    data: str | Path | None = None,
    device: str | None = None,
    resume: bool = False,
    fast_dev_run: bool = False,
    force: bool = False,
    quiet: bool = False,
    measure: bool = True,
) -> Path:
    """Train the model that a card describes, and write weights and a card of its own into ``out``.

    Args:
        card: a card, its path, or the name of a model whose recipe is followed.
        out: folder of the run: ``metrics.jsonl``, ``checkpoints/``, at the end ``card.yaml`` with
            metrics, weights, ``curves.png`` and ``parity.png``.
        overrides: ``"recipe.lr=3e-4"``-like changes of the card, see :func:`zoo.training.recipe.apply_overrides`.
        data: folder or file of the card's data set, if it is not in the default place.
        device: ``cpu``, ``cuda``, …; CUDA by default where there is one.
        resume: continue from the last checkpoint in ``out``, if there is one.
        fast_dev_run: two steps of everything, then stop.
        force: train even if the reference energies leave implausibly large residuals.
        quiet: no progress on the screen.
        measure: at the end, write the metrics of the test split into the card and draw pictures.

    Returns the folder.

    Raises:
        TrainingError: an unknown or malformed recipe key, a folder in use, a loss that is not finite.
        DataError: the data cannot be opened, or lack a target.
    """
    from zoo.training.run import Options, run

    options = Options(overrides=tuple(overrides), data=data, device=device, resume=resume, fast_dev_run=fast_dev_run,
                      force=force, quiet=quiet, measure=measure)
    return run(card, Path(out), options).folder
