"""Compares models trained on the same data, the same split and the same budget; importing it imports no torch.

Start with ``all_runs.py``: it finds the models (``entries.py``), builds what they share (``setup.py``, ``dataset.py``),
trains them one after the other (``one_run.py``) and writes the results (``result.py``, ``tables.py``, ``writing.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.comparison.result import Comparison, RunResult

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
    progress: Callable[[RunResult, int, int], None] | None = None,
) -> Comparison:
    """Train every model with the same budget on the same molecules, and test each once on the same test molecules.

    Runs that are finished in ``out`` are not trained again; an interrupted run resumes. Tables and plots are written
    into ``out`` as well.

    Args:
        models: architectures (``"painn"``, with its preset ``small``; ``"painn:paper"`` for another preset), names of
            models, cards or card folders; the config and recipe of a card are used. Always trained from scratch.
        out: folder of the comparison.
        dataset: name of a data set; by default the bundled sample of QM9.
        data: path of the data set; without ``dataset``, a saved store or a file of structures.
        targets: labels to learn, all by one model; ``"mu=dipole"`` names the readout. ``forces`` and ``stress`` too.
        sizes: numbers of training molecules; a smaller set is part of every larger one. By default an eighth, a
            quarter, half and all.
        seeds: seeds of weights and batches; errors are averaged over them.
        steps, seconds: budget of each run; 400 steps by default. With both, the first limit reached ends the run.
        test: use at most this many molecules of the test split.
        same_recipe: ignore the recipes of cards.
        overrides: changes for all models such as ``"lr=3e-4"``, see :func:`zoo.training.recipe.apply_overrides`.
        device: ``cpu``, ``cuda``, …; by default CUDA if available.
        progress: called with the result of each finished run, its number from 1, and the number of runs.

    Returns all results. A model that fails is included with its error.

    Raises:
        UnknownNameError: a model or data set of this name does not exist.
        TrainingError: a size, budget or override is invalid, or ``out`` is in use.
        DataError: the data cannot be opened, or lack a target.
    """
    from zoo.comparison.all_runs import run_all

    return run_all(models, out=Path(out), dataset=dataset, data=data, targets=targets, sizes=sizes, seeds=seeds,
                   steps=steps, seconds=seconds, test=test, same_recipe=same_recipe, overrides=overrides, device=device,
                   progress=progress)
