"""A store on disk: one memory-mapped safetensors file and a JSON header that describes it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from zoo.data.store import EdgeTable, Store
from zoo.errors import DataError

__all__ = ["HEADER", "TENSORS", "load", "replace_folder", "save", "sha256_of"]

FORMAT = 1
HEADER = "store.json"
TENSORS = "store.safetensors"
ALWAYS_VERIFIED = 16_000_000
"""Bytes up to which the hash is checked on every opening: below a tenth of a second."""

_COLUMNS = ("z", "pos", "ptr", "ids", "cell", "pbc", "charge", "spin", "node_attrs", "node_vectors")
_EDGE_COLUMNS = ("ptr", "index", "shift", "attrs")


def save(store: Store, folder: Path, *, overwrite: bool = False) -> Path:
    """Write the store; the folder appears complete or not at all.

    Raises:
        DataError: the folder exists and ``overwrite`` is not set.
    """
    if folder.exists() and not overwrite:
        raise DataError(f"{folder} exists already: choose another folder, or say overwrite=True")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        save_file(_tensors(store), staging / TENSORS)
        header = {
            "format": FORMAT,
            "tensors": {"file": TENSORS, "sha256": sha256_of(staging / TENSORS),
                        "bytes": (staging / TENSORS).stat().st_size},
            "structures": len(store),
            "atoms": store.z.shape[0],
            "labels": {n: {"unit": store.units[n], "per_atom": n in store.per_atom} for n in store.labels},
            "edges": None if store.edges is None else {"cutoff": store.edges.cutoff,
                                                       "count": store.edges.index.shape[1]},
            "meta": dict(store.meta),
        }
        (staging / HEADER).write_text(json.dumps(header, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        # Both were made readable by their owner alone; a data set is for everyone whom the folder above lets in.
        staging.chmod(0o755)
        (staging / TENSORS).chmod(0o644)
        replace_folder(staging, folder, overwrite=overwrite)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def load(folder: Path, *, verify: bool | None = None) -> Store:
    """Open a saved store without reading its columns.

    Raises:
        DataError: no store there, one of a newer format, or a file that is not what the header promises.
    """
    header = _read_header(folder)
    promised = header["tensors"]
    path = folder / promised["file"]
    if not path.is_file():
        raise DataError(f"{folder} has a header but no {promised['file']}: the store is incomplete, make it again")
    size = path.stat().st_size
    if size != promised["bytes"]:
        raise DataError(f"{path} has {size} bytes; its header promises {promised['bytes']}: truncated or altered, "
                        "make the store again")
    if verify or (verify is None and size <= ALWAYS_VERIFIED):
        found = sha256_of(path)
        if found != promised["sha256"]:
            raise DataError(f"{path} has sha256 {found}; its header promises {promised['sha256']}: altered, "
                            "make the store again")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise DataError(f"{path} is no readable safetensors file: {error}") from error
    return _from_tensors(tensors, header)


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replace_folder(staging: Path, folder: Path, *, overwrite: bool) -> None:
    """Rename a finished folder into place; an older one is set aside first, and comes back if that fails."""
    if not folder.exists():
        os.rename(staging, folder)
        return
    if not overwrite:
        raise DataError(f"{folder} appeared while it was being made: it is left as it is")
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
        raise DataError(f"{folder} holds no store: there is no {HEADER}")
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        version = header["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no store header ({error}): make the store again") from error
    if version > FORMAT:
        raise DataError(f"{folder} has store format {version}, this zoo reads up to {FORMAT}: "
                        "pip install -U geometric-zoo")
    return header


def _tensors(store: Store) -> dict[str, Tensor]:
    """Columns by their name in the file, contiguous, on the CPU."""
    named = {name: getattr(store, name) for name in _COLUMNS}
    named |= {f"labels.{name}": value for name, value in store.labels.items()}
    if store.edges is not None:
        named |= {f"edges.{name}": getattr(store.edges, name) for name in _EDGE_COLUMNS}
    # Copies where columns share memory (a view of another's): safetensors refuses aliases.
    seen: set[int] = set()
    out = {}
    for name, value in named.items():
        if value is None:
            continue
        value = value.detach().cpu().contiguous()
        pointer = value.untyped_storage().data_ptr()
        shares = pointer in seen or value.untyped_storage().nbytes() != value.numel() * value.element_size()
        out[name] = value.clone() if shares else value
        seen.add(pointer)
    return out


def _from_tensors(tensors: dict[str, Tensor], header: dict[str, Any]) -> Store:
    described = header["labels"]
    missing = [n for n in ("z", "pos", "ptr", "ids", *(f"labels.{n}" for n in described)) if n not in tensors]
    if missing:
        raise DataError(f"the store lacks the columns {', '.join(missing)} that its header promises")
    edges = None
    if header["edges"] is not None:
        of_edges: dict[str, Any] = {name: tensors.get(f"edges.{name}") for name in _EDGE_COLUMNS}
        edges = EdgeTable(cutoff=header["edges"]["cutoff"], **of_edges)
    columns: dict[str, Any] = {name: tensors.get(name) for name in _COLUMNS}
    return Store(
        **columns,
        labels={name: tensors[f"labels.{name}"] for name in described},
        units={name: entry["unit"] for name, entry in described.items()},
        per_atom=frozenset(name for name, entry in described.items() if entry["per_atom"]),
        edges=edges,
        meta=header["meta"],
    )
