"""Several families on the same data, the same split and the same budget. Importing this package imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.comparison.result import Cell, Comparison

__all__ = ["compare"]


def compare(
    models: Sequence[str | Path],
    *,
    out: str | Path,
    dataset: str | None = None,
    data: str | Path | None = None,
    targets: Sequence[str] = ("U0",),
    sizes: Sequence[int] | None = None,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    seconds: float | None = None,
    test: int | None = None,
    same_recipe: bool = False,
    overrides: Sequence[str] = (),
    device: str | None = None,
    progress: Callable[[Cell, int, int], None] | None = None,
) -> Comparison:
    """Train every model with the same budget on the same molecules, and measure each once on the same test molecules.

    What is finished in ``out`` is not trained again; a training that was interrupted goes on. Tables and pictures are
    written into ``out`` as well.

    Args:
        models: architectures (``"painn"``, in its preset ``small``; ``"painn:paper"`` for another), names of models,
            cards or card folders, whose config and recipe are followed. Always trained from scratch.
        out: folder of the comparison.
        dataset: name of a data set; the bundled sample of QM9 by default.
        data: where it lies; without a name, a saved store or a file of structures to use.
        targets: labels to learn, all by one model; ``"mu=dipole"`` names the readout. ``forces`` and ``stress`` too.
        sizes: numbers of training molecules, each a part of the next; an eighth, a quarter, half and all by default.
        seeds: of weights and batches; errors are averaged over them.
        steps, seconds: budget of one training, the same for all; 400 steps by default. Both: what ends first.
        test: at most so many molecules of the test split.
        same_recipe: do not follow the recipes of cards.
        overrides: ``"lr=3e-4"``-like changes for all, see :func:`zoo.training.recipe.apply_overrides`.
        device: ``cpu``, ``cuda``, …; CUDA by default where there is one.
        progress: called with every finished cell, its number from 1, and how many there are.

    Returns everything that was measured. A model that fails is there with its error.

    Raises:
        UnknownNameError: nothing has this name.
        TrainingError: a size, budget or override that makes no sense, or ``out`` is in use.
        DataError: the data cannot be opened, or lack a target.
    """
    from zoo.comparison.run import run

    return run(models, out=Path(out), dataset=dataset, data=data, targets=targets, sizes=sizes, seeds=seeds,
               steps=steps, seconds=seconds, test=test, same_recipe=same_recipe, overrides=overrides, device=device,
               progress=progress)
