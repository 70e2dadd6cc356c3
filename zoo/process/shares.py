"""Which part of the work is this command's, where several commands share it: said, or read from Slurm's environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from zoo.errors import ZooError

__all__ = ["parse_share", "slurm_share"]


def parse_share(text: str) -> tuple[int, int]:
    """(rank from 0, number) of ``"3/16"``, the third of sixteen commands.

    Raises:
        ZooError: it is no such text, or no such share.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip(), re.ASCII)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ZooError(f"'{text}' is no share. Fix: write --share 3/16 for the third of sixteen commands.")
    return int(found[1]) - 1, int(found[2])


def slurm_share(environ: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """(rank, number) of this task of a job array, of a job step (``srun``), or of both; (0, 1) outside of Slurm.

    An array whose indices are not evenly spaced (``--array=3,7``) does not say how its tasks share: each has all.
    """
    array, tasks = _array(environ), _step(environ)
    return array[0] * tasks[1] + tasks[0], array[1] * tasks[1]


def _step(environ: Mapping[str, str]) -> tuple[int, int]:
    number = int(environ.get("SLURM_STEP_NUM_TASKS", 1))
    return (int(environ["SLURM_PROCID"]), number) if number > 1 else (0, 1)


def _array(environ: Mapping[str, str]) -> tuple[int, int]:
    names = ("TASK_ID", "TASK_MIN", "TASK_MAX", "TASK_STEP", "TASK_COUNT")
    if any(f"SLURM_ARRAY_{name}" not in environ for name in names):
        return 0, 1
    own, first, last, step, number = (int(environ[f"SLURM_ARRAY_{name}"]) for name in names)
    if step < 1 or (last - first) != (number - 1) * step or (own - first) % step:
        return 0, 1
    return (own - first) // step, number
