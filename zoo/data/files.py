"""A store on disk: one memory-mapped safetensors file and a JSON header that describes it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.errors import DataError
from zoo.files.bounded_reads import read_json
from zoo.files.hashing import sha256_of

__all__ = ["HEADER", "TENSORS", "read_columns", "replace_folder", "write_columns"]

FORMAT = 1
HEADER = "store.json"
TENSORS = "store.safetensors"
ALWAYS_VERIFIED = 16_000_000
"""Files up to this many bytes are hashed at every opening, which takes less than a tenth of a second."""


def write_columns(folder: Path, columns: Mapping[str, Tensor | None], description: Mapping[str, Any], *,
                  overwrite: bool = False) -> Path:
    """Write a store's columns and its header into a folder, which appears by rename.

    Raises:
        DataError: the folder exists and ``overwrite`` is not set.
    """
    if folder.exists() and not overwrite:
        raise DataError(f"{folder} exists already. Fix: choose another folder, or give overwrite=True")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        save_file(_own_memory(columns), staging / TENSORS)
        header = {
            "format": FORMAT,
            "tensors": {"file": TENSORS, "sha256": sha256_of(staging / TENSORS),
                        "bytes": (staging / TENSORS).stat().st_size},
            **description,
        }
        (staging / HEADER).write_text(json.dumps(header, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        # Temporary files are readable by their owner only; give a data set the permissions of other files.
        staging.chmod(0o755)
        (staging / TENSORS).chmod(0o644)
        replace_folder(staging, folder, overwrite=overwrite)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def read_columns(folder: Path, *, verify: bool | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Columns of a saved store, memory-mapped, and its header.

    Raises:
        DataError: no store there, one of a newer format, or a file that is not what the header promises.
    """
    header = _read_header(folder)
    promised = header["tensors"]
    path = folder / promised["file"]
    if not path.is_file():
        raise DataError(f"{folder} has a header but no {promised['file']}: the store is incomplete. "
                        "Fix: make it again.")
    size = path.stat().st_size
    if size != promised["bytes"]:
        raise DataError(f"{path} has {size} bytes; its header says {promised['bytes']}: truncated or altered. "
                        "Fix: make the store again.")
    if verify or (verify is None and size <= ALWAYS_VERIFIED):
        found = sha256_of(path)
        if found != promised["sha256"]:
            raise DataError(f"{path} has sha256 {found}; its header says {promised['sha256']}: altered. "
                            "Fix: make the store again.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except SafetensorError as error:
        raise DataError(f"{path} is no readable safetensors file: {error}") from error


def replace_folder(staging: Path, folder: Path, *, overwrite: bool) -> None:
    """Rename a finished folder into place; an older one is moved aside first, and restored if that fails."""
    if not folder.exists():
        os.rename(staging, folder)
        return
    if not overwrite:
        raise DataError(f"{folder} appeared while it was being made: it is left as it is. "
                        "Fix: open that store, or choose another folder.")
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    os.rename(folder, aside / folder.name)
    try:
        os.rename(staging, folder)
    except OSError:
        os.rename(aside / folder.name, folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    if not path.is_file():
        raise DataError(f"{folder} holds no store: there is no {HEADER}. Fix: give the folder of a saved store.")
    try:
        header = read_json(path)
        version = header["format"]
        if type(version) is not int or type(header["tensors"]["bytes"]) is not int:
            raise ValueError("a number is missing")
        if Path(header["tensors"]["file"]).name != header["tensors"]["file"]:
            raise ValueError("its tensors are in another folder")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no store header ({error}). Fix: make the store again.") from error
    if version > FORMAT:
        raise DataError(f"{folder} has store format {version}, this zoo reads up to {FORMAT}. "
                        "Fix: pip install -U geometric-zoo")
    return header


def _own_memory(columns: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """The columns that exist, contiguous, on the CPU; copied if they share memory, which safetensors refuses."""
    seen: set[int] = set()
    out = {}
    for name, value in columns.items():
        if value is None:
            continue
        value = value.detach().cpu().contiguous()
        pointer = value.untyped_storage().data_ptr()
        shares = pointer in seen or value.untyped_storage().nbytes() != value.numel() * value.element_size()
        out[name] = value.clone() if shares else value
        seen.add(pointer)
    return out
