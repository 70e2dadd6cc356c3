"""Checkpoints: folders that appear by rename and hold everything that a bitwise resume needs; no pickles."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo.errors import TrainingError

__all__ = ["Checkpoints", "DiskFullError"]

FORMAT = 1
_NAME = re.compile(r"step-(\d{9})")


class DiskFullError(TrainingError):
    """The disk is full; checkpoints already written are untouched."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run: ``<folder>/step-000001000/{model,ema}.safetensors, state.pt``.

    Attributes:
        folder: has one subfolder per checkpoint.
        keep: number of latest checkpoints that are kept, besides the best.
    """

    folder: Path
    keep: int = 2

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending; half-written ones have other names."""
        if not self.folder.is_dir():
            return []
        return sorted(int(m[1]) for p in self.folder.iterdir() if (m := _NAME.fullmatch(p.name)))

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}"

    def write(self, step: int, model: Mapping[str, Tensor], average: Mapping[str, Tensor] | None,
              state: Mapping[str, Any], *, best: int | None) -> Path:
        """Write a checkpoint, then remove those that are not kept.

        Args:
            model: raw weights and constants. average: averaged weights. state: counters and optimiser state.
            best: step of the best checkpoint so far, which is never removed.

        Raises:
            DiskFullError: the disk is full; older checkpoints are untouched.
        """
        final = self.path(step)
        if final.is_dir():
            return final
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clear_partial()
        partial = self.folder / f".partial-{step:09d}-{os.getpid()}"
        try:
            partial.mkdir()
            save_file(_plain(model), partial / "model.safetensors")
            if average is not None:
                save_file(_plain(average), partial / "ema.safetensors")
            torch.save({"format": FORMAT, "step": step, **state}, partial / "state.pt")
            for file in partial.iterdir():
                _flush(file)
            os.rename(partial, final)
            _flush(self.folder)
        except (OSError, RuntimeError, Exception) as error:
            shutil.rmtree(partial, ignore_errors=True)
            if _no_room(error, self.folder):
                raise DiskFullError(f"no room for a checkpoint in {self.folder}: {error}. Checkpoints at steps "
                                    f"{self.steps()} are untouched. Fix: free some space") from error
            raise
        for old in self.steps()[: -self.keep]:
            if old != best:
                shutil.rmtree(self.path(old), ignore_errors=True)
        return final

    def read(self, step: int) -> tuple[dict[str, Tensor], dict[str, Tensor] | None, dict[str, Any]]:
        """Weights, averaged weights and state of one checkpoint.

        Raises:
            TrainingError: it is damaged, or of a newer format.
        """
        folder = self.path(step)
        try:
            model = load_file(folder / "model.safetensors")
            average = load_file(folder / "ema.safetensors") if (folder / "ema.safetensors").exists() else None
            state = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
        except Exception as error:
            raise TrainingError(f"checkpoint {folder} cannot be read: {error}. Fix: remove it to go on from "
                                "the one before") from error
        if state["format"] > FORMAT:
            raise TrainingError(f"checkpoint {folder} has format {state['format']}, this version reads up to "
                                f"{FORMAT}. Fix: pip install -U geometric-zoo")
        return model, average, state

    def _clear_partial(self) -> None:
        for left_over in self.folder.glob(".partial-*"):
            shutil.rmtree(left_over, ignore_errors=True)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _flush(path: Path) -> None:
    """On a journalling file system a rename may reach the disk before the bytes do."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _no_room(error: BaseException, folder: Path) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error).lower()
    return "no space left" in text or "quota exceeded" in text or "file write failed" in text
