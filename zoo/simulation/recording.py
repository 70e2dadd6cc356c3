"""Files that a simulation writes: trajectories, a log of energies and a restart file from which it can continue."""

from __future__ import annotations

import csv
import io
import json
import os
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import ase.io
import numpy as np

from zoo.errors import ZooError
from zoo.files.atomic_writes import replacing, set_aside
from zoo.simulation.dynamics import Dynamics

__all__ = ["COLUMNS", "Recorder", "Restart", "files_of", "read_log"]

FORMAT = 1
COLUMNS = ("replica", "step", "time_fs", "temperature_K", "potential_eV", "kinetic_eV", "total_eV", "conserved_eV")


@dataclass(frozen=True)
class Files:
    """Files of one run: trajectories (one per replica), log, restart file and plot."""

    trajectories: list[Path]
    log: Path
    restart: Path
    picture: Path


def files_of(output: Path, replicas: int = 1) -> Files:
    """``traj.extxyz`` → itself, ``traj.csv``, ``traj.restart.npz``, ``traj.png``; several replicas are numbered."""
    several = [output.with_name(f"{output.stem}-{r}{output.suffix}") for r in range(replicas)]
    return Files([output] if replicas == 1 else several, output.with_suffix(".csv"), output.with_suffix(".restart.npz"),
                 output.with_suffix(".png"))


@dataclass(frozen=True)
class Restart:
    """What a run needs to continue: exact state, settings, and the length in bytes of each file at that moment."""

    state: dict[str, np.ndarray]
    settings: dict[str, Any]
    lengths: list[int]

    @classmethod
    def read(cls, path: Path) -> Restart:
        """Read a restart file; raises ``ZooError`` if there is none or it is not one."""
        if not path.is_file():
            raise ZooError(f"{path}: no such restart file. Fix: leave out --restart to start a new run.")
        try:
            # Read into memory first: numpy does not close a file that it fails to read.
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as held:
                arrays = {key: held[key] for key in held.files}
            meta = json.loads(str(arrays.pop("meta")))
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise ZooError(f"{path}: is no restart file of zoo md: {error}. "
                           "Fix: start a new run without --restart and with another --output.") from error
        if meta.get("format") != FORMAT:
            raise ZooError(f"{path}: restart format {meta.get('format')}, this zoo reads {FORMAT}. "
                           "Fix: go on with the version that wrote it, or start a new run with another --output.")
        return cls(arrays, meta["settings"], meta["lengths"])

    def write(self, path: Path) -> None:
        """Write the file atomically (by rename)."""
        meta = json.dumps({"format": FORMAT, "settings": self.settings, "lengths": self.lengths})
        arrays: dict[str, Any] = {"meta": np.array(meta), **self.state}
        with replacing(path) as staging:
            np.savez(staging, **arrays)

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise ``ZooError`` if the settings of the restarted run differ; names the first difference."""
        for key, mine in self.settings.items():
            if settings.get(key) != mine:
                raise ZooError(f"the restart file was written with {key} = {mine}, and now it is {settings.get(key)}. "
                               "Fix: use the same value, or start a new run with another --output.")


class Recorder:
    """Writes frames and log lines of a run, and its restart file at each :meth:`checkpoint`.

    A restart truncates trajectories and log to their length at the last checkpoint, so that no frame is duplicated or
    incomplete.

    Args:
        files: see :func:`files_of`. dynamics: the run to record. settings: options that must be the same after a
            restart.
        resume: restart data to continue from; without it the files must not exist.

    Raises:
        ZooError: files exist already, or are shorter than the restart file states.
    """

    def __init__(self, files: Files, dynamics: Dynamics, settings: Mapping[str, Any], *,
                 resume: Restart | None = None) -> None:
        self.files = files
        self._dynamics = dynamics
        self._settings = dict(settings)
        paths = [*files.trajectories, files.log]
        keep = [None] * len(paths) if resume is None else resume.lengths
        self._handles = [_open(path, length) for path, length in zip(paths, keep)]
        if resume is None:
            for other in (files.restart, files.picture):
                set_aside(other)
            self._handles[-1].write((",".join(COLUMNS) + "\n").encode())

    def record(self) -> None:
        """Write a frame and a log line for every replica; failed replicas are no longer written."""
        d = self._dynamics
        values = [x.tolist() for x in (d.temperature, d.potential, d.kinetic, d.total, d.conserved)]
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        for r, (atoms, handle) in enumerate(zip(d.atoms(), self._handles)):
            if bool(d.failed[r]):
                continue
            atoms.info |= {"step": d.steps_done, "time_fs": d.time, "temperature_K": values[0][r]}
            frame = io.StringIO()
            ase.io.write(frame, atoms, format="extxyz")
            handle.write(frame.getvalue().encode())
            lines.writerow([r, d.steps_done, f"{d.time:g}", *(repr(column[r]) for column in values)])
        self._handles[-1].write(text.getvalue().encode())

    def checkpoint(self) -> None:
        """Flush all files to disk, then write the restart file."""
        lengths = []
        for handle in self._handles:
            handle.flush()
            os.fsync(handle.fileno())
            lengths.append(handle.tell())
        Restart(self._dynamics.state_dict(), self._settings, lengths).write(self.files.restart)

    def close(self) -> None:
        for handle in self._handles:
            handle.close()


def read_log(path: Path) -> dict[str, np.ndarray]:
    """Columns of a log, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a log without lines, whose run failed at its start
        rows = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2).reshape(-1, len(COLUMNS))
    return {name: rows[:, k] for k, name in enumerate(COLUMNS)}


def _open(path: Path, keep: int | None) -> IO[bytes]:
    try:
        if keep is None:
            return path.open("xb")
        if not path.is_file() or path.stat().st_size < keep:
            raise ZooError(f"{path}: is not what the restart file belongs to: expected at least {keep} bytes. "
                           "Fix: restore the file, or start a new run with another --output.")
        handle = path.open("r+b")
    except FileExistsError:
        raise ZooError(f"{path} exists. Fix: go on with --restart, or choose another --output.") from None
    except OSError as error:
        raise ZooError(f"{path}: cannot be written: {error}. Fix: choose another --output.") from error
    handle.truncate(keep)
    handle.seek(keep)
    return handle
