"""QM9: 130,831 molecules of H, C, N, O and F with twelve properties, from any of its published forms."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from zoo.data.edges import with_edges
from zoo.data.files import HEADER
from zoo.data.qm9_any_geometry import open_any_geometry
from zoo.data.qm9_geometries import LISTED
from zoo.data.qm9_published import (
    CITATION,
    COLUMNS,
    FINGERPRINTS,
    IN_HARTREE,
    LICENSE,
    MEAN_POSITION,
    THEORY,
    UNITS,
)
from zoo.data.qm9_raw import RawQM9
from zoo.data.qm9_sources import read, read_package
from zoo.data.splits import QM9_SIZES, QM9_TEST_SHA256
from zoo.data.store import Store
from zoo.errors import DataError
from zoo.files.zoo_home import home
from zoo.units import factor

__all__ = ["check_whole", "open_qm9", "to_store"]


def open_qm9(path: str | Path | None = None, *, cutoff: float | None = 5.0, partial: bool = False,
             progress: bool = True) -> Store:
    """QM9, converted once into a store under ``$ZOO_HOME/data`` and memory-mapped afterwards.

    Args:
        path: any form of QM9 (see :func:`zoo.data.qm9_sources.read`), a saved store, or other geometries of it
            (:mod:`zoo.data.qm9_any_geometry`); by default the store of an earlier call, else the installed package
            ``qm9pack``.
        cutoff: Å, of the edges stored with it; ``None`` for no edges.
        partial: accept fewer than the 130,831 molecules; such a part is not cached.

    Raises:
        DataError: the source is missing, unreadable, incomplete, or does not hold the values of QM9.
        MissingExtraError: no path was given and ``qm9pack`` is not installed.
    """
    if path is not None and (Path(path) / HEADER).is_file():
        return Store.load(path)
    if path is not None and (Path(path) / LISTED).is_file():
        return open_any_geometry(path)
    cache = _cache_folder(path, cutoff)
    if not partial and (cache / HEADER).is_file():
        return Store.load(cache)
    raw = read_package(progress=progress) if path is None else read(Path(path), progress=progress)
    if not partial:
        check_whole(raw)
    store = to_store(raw)
    if cutoff is not None:
        store = with_edges(store, cutoff, progress=progress)
    if partial:
        return store
    try:
        store.save(cache)
    except DataError:
        # Another process finished the same conversion first.
        if not (cache / HEADER).is_file():
            raise
    return Store.load(cache)


def to_store(raw: RawQM9) -> Store:
    """Columns in the zoo's units. Energies are the published Hartree times the one constant of :mod:`zoo.units`."""
    hartree = factor("Hartree", "eV")
    size = {name: hartree if name in IN_HARTREE else 1.0 for name in COLUMNS}
    return Store.from_tensors(
        torch.from_numpy(raw.z),
        torch.from_numpy(raw.pos),
        n_atoms=torch.from_numpy(raw.n_atoms),
        ids=torch.from_numpy(raw.gdb),
        labels={name: torch.from_numpy(raw.values[name] * size[name]) for name in COLUMNS},
        units=UNITS,
        meta={
            "name": "qm9", "theory": THEORY, "license": LICENSE, "citation": list(CITATION), "source": raw.source,
            "notes": raw.notes, "split": QM9_TEST_SHA256, "hartree": hartree,
        },
    )


def check_whole(raw: RawQM9) -> None:
    """Refuse a source that lacks molecules or whose values are not those of QM9."""
    expected = sum(QM9_SIZES.values())
    if len(raw.gdb) != expected:
        raise DataError(f"the {raw.source} has {len(raw.gdb):,} characterised molecules of QM9, {expected:,} were "
                        "expected: it is incomplete. Fix: fetch it again, or give partial=True.")
    for name, digest in fingerprints(raw).items():
        if name not in raw.notes and digest != FINGERPRINTS[name]:
            raise DataError(f"'{name}' in the {raw.source} differs from the published QM9 (fingerprint {digest}, "
                            f"expected {FINGERPRINTS[name]}). Fix: fetch it again.")
    mean = float(np.abs(raw.pos.astype(np.float64)).mean())
    if not abs(mean - MEAN_POSITION) < 1e-5:
        raise DataError(f"positions in the {raw.source} differ from the published QM9 (mean |x| is {mean:.6f} Å, "
                        f"expected {MEAN_POSITION:.6f} Å). Fix: fetch it again.")


def fingerprints(raw: RawQM9) -> dict[str, str]:
    """A hash of every column but the positions."""
    columns = {"gdb": raw.gdb.astype("<i8"), "n_atoms": raw.n_atoms.astype("<i8"), "z": raw.z.astype("u1")}
    columns |= {name: raw.values[name].astype("<f8") for name in COLUMNS}
    return {name: hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
            for name, value in columns.items()}


def _cache_folder(path: str | Path | None, cutoff: float | None) -> Path:
    """One folder per source (path, size and time of change) and cut-off."""
    name = "qm9" if cutoff is None else f"qm9-{cutoff:g}A"
    if path is not None and Path(path).exists():
        status = Path(path).stat()
        key = f"{Path(path).resolve()}:{status.st_size}:{status.st_mtime_ns}"
        name += "-" + hashlib.sha256(key.encode()).hexdigest()[:10]
    return home() / "data" / name
