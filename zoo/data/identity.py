"""Fingerprints of structures, by which training data are recognised in other files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.cards.weights import read_tensors
from zoo.data.store import Store
from zoo.errors import DataError, WeightsError
from zoo.files.atomic_writes import replacing

__all__ = ["SPLIT_FILE", "fingerprints", "read_split", "write_split"]

SPLIT_FILE = "split.safetensors"
_GRID = 1000.0  # 1/Å: files with four or more decimals give the same fingerprint


def fingerprints(store: Store) -> np.ndarray:
    """(M,) int64: equal for structures of the same elements at the same positions (and cell), in any order of atoms.

    A sum over atoms of hashes, computed in one pass over flat columns.
    """
    # Rounded to float32, so that a copy in single precision has the same fingerprint.
    grid = np.rint(store.pos.cpu().float().double().numpy() * _GRID).astype(np.int64)
    bits = _mix(store.z.cpu().numpy().astype(np.uint64))
    for axis in range(3):
        bits = _mix(bits + grid[:, axis].astype(np.uint64))
    owner = np.repeat(np.arange(len(store)), store.n_atoms.cpu().numpy())
    total = np.zeros(len(store), dtype=np.uint64)
    np.add.at(total, owner, bits)
    if store.cell is not None:
        cell = np.rint(store.cell.cpu().float().double().numpy() * _GRID).astype(np.int64).astype(np.uint64)
        for component in cell.reshape(len(store), 9).T:
            total = _mix(total + component)
    return total.astype(np.int64)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014): each input bit affects each output bit."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def write_split(folder: Path, store: Store, rows: dict[str, Tensor]) -> Path:
    """Write the fingerprints of every split next to a card."""
    from safetensors.torch import save_file

    prints = torch.from_numpy(fingerprints(store))
    path = folder / SPLIT_FILE
    with replacing(path) as staging:
        save_file({name: prints[part.cpu()].sort().values for name, part in rows.items()}, staging)
    return path


def read_split(path: Path, store: Store) -> dict[str, Tensor]:
    """Rows of a store that belong to each split of a file made by :func:`write_split`.

    Raises:
        DataError: the file cannot be read, or holds something else than a list of fingerprints for every split.
    """
    try:
        known = read_tensors(path)
    except WeightsError as error:
        raise DataError(f"{path} is no readable split file: {error}. Fix: restore it, or remove it to divide the data "
                        "anew") from error
    odd = [f"'{name}' is {part.dtype} {tuple(part.shape)}" for name, part in known.items()
           if part.dtype != torch.int64 or part.dim() != 1]
    absent = [name for name in ("train", "val", "test") if name not in known]
    if odd or absent:
        raise DataError(f"{path} is no split file: {', '.join(odd) or 'it has no ' + ', '.join(absent)}. Fix: restore "
                        "it, or remove it to divide the data anew")
    prints = torch.from_numpy(fingerprints(store))
    return {name: torch.isin(prints, part).nonzero()[:, 0] for name, part in known.items()}
