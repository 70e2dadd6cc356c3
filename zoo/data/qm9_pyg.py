"""torch-geometric's processed QM9, which is float32: the published decimals are restored where that is possible.

U0, U, H and G are about −11,000 eV, where float32 numbers are 1 meV apart. The atomization energies in the same file
are a hundred times smaller and resolve the sixth decimal of a Hartree, the last one published; so energies are
restored from those. Only ⟨r²⟩ cannot be restored: near 1,200 a0² float32 numbers are 1.2e-4 apart, and the published
values have four decimals.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.data.qm9_published import ATOM_REFERENCES, COLUMNS
from zoo.data.qm9_raw import RawQM9
from zoo.errors import DataError

__all__ = ["read_processed"]

_EV = np.float64(np.float32(27.211386246))
_KCAL_IN_EV = np.float64(np.float32(0.04336414))
"""The conversion factors of torch-geometric, as float32 numbers."""
_HARTREE_IN_KCAL = 627.509
"""The conversion factor of MoleculeNet's atomization energies."""
_DECIMALS = {"mu": 4, "alpha": 2, "homo": 4, "lumo": 4, "gap": 4, "r2": 4, "zpve": 6, "Cv": 3}
_ATOMIZATION = {"U0": 12, "U": 13, "H": 14, "G": 15}


def read_processed(path: Path) -> RawQM9:
    """``processed/data_v3.pt``, or the list ``qm9_v3.pt`` that it is made from when RDKit is absent.

    Raises:
        DataError: the file holds anything but tensors and plain values, or lacks a field.
    """
    fields = _load(path)
    missing = [name for name in ("z", "pos", "y", "name", "n_atoms") if name not in fields]
    if missing:
        raise DataError(f"{path} lacks the fields {', '.join(missing)}: it is not torch-geometric's QM9. "
                        "Fix: give its data_v3.pt.")
    gdb = np.array([int(name.removeprefix("gdb_")) for name in fields["name"]], dtype=np.int64)
    n_atoms, z = fields["n_atoms"].astype(np.int64), fields["z"].astype(np.uint8)
    y = fields["y"].astype(np.float64)
    if y.shape != (len(gdb), 19):
        raise DataError(f"{path}: y has shape {y.shape}; torch-geometric's QM9 has 19 columns. "
                        "Fix: give the file that it saves.")
    return RawQM9(gdb, n_atoms, z, fields["pos"].astype(np.float32), _restore(y, z, n_atoms), f"file {path.name}",
                  {"pos": "rounded to 4 decimals of an Å in this source",
                   "r2": "float32 in this source: within 1.3e-4 a0^2 of the published value"})


def _restore(y: np.ndarray, z: np.ndarray, n_atoms: np.ndarray) -> dict[str, np.ndarray]:
    """The published decimals of every target."""
    values = {}
    owner = np.repeat(np.arange(len(n_atoms)), n_atoms)
    for column, name in enumerate(COLUMNS):
        if name in _ATOMIZATION:
            reference = np.zeros(10)
            reference[list(ATOM_REFERENCES[name])] = list(ATOM_REFERENCES[name].values())
            free = np.bincount(owner, weights=reference[z], minlength=len(n_atoms))
            hartree = y[:, _ATOMIZATION[name]] / _KCAL_IN_EV / _HARTREE_IN_KCAL + free
            coarse = y[:, column] / _EV
            if np.abs(hartree - coarse).max(initial=0) > 1e-4:
                raise DataError(f"{name} and its atomization energy disagree: this is not torch-geometric's QM9. "
                        "Fix: give the file that it saves.")
            values[name] = np.round(hartree, 6)
        else:
            unit = _EV if name in ("homo", "lumo", "gap", "zpve") else 1.0
            values[name] = np.round(y[:, column] / unit, _DECIMALS[name])
    return values


def _load(path: Path) -> dict[str, Any]:
    # torch-geometric registers its own harmless classes for weights_only loading when it is imported.
    import torch_geometric.data  # noqa: F401

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path} is a pickle that holds more than tensors, and such a file can run code when it is "
                        f"opened: refused ({reason}). Fix: use the raw files gdb9.sdf and gdb9.sdf.csv, or "
                        "pip install 'geometric-zoo[qm9]'") from error
    if isinstance(content, list):
        return {
            "name": [entry["name"] for entry in content],
            "n_atoms": np.array([len(entry["z"]) for entry in content]),
            **{name: torch.cat([entry[name] for entry in content]).numpy() for name in ("z", "pos", "y")},
        }
    if not isinstance(content, tuple) or len(content) < 2 or not isinstance(content[0], dict):
        raise DataError(f"{path} is not what torch-geometric's QM9 saves: a dictionary of fields and their slices. "
                        "Fix: give the file that it saves.")
    fields, slices = content[:2]
    arrays = {name: value.numpy() for name, value in fields.items() if isinstance(value, torch.Tensor)}
    return {**arrays, "name": fields.get("name", []), "n_atoms": slices["z"].diff().numpy()}
