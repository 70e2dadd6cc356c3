"""QM9's properties beside geometries that people have: B3LYP minima, MMFF94 and GFN2-xTB minima, conformers of SMILES.

One store for training and evaluation. Every structure carries the labels of its molecule *at the B3LYP minimum*, so a
model that learns from it maps any of these geometries to the properties there. ``ids`` are gdb indices and repeat; the
split is QM9's own, by molecule. The label ``geometry`` is the place of a structure's kind in :data:`GEOMETRIES`.

Kind ``between`` stands on the line from the B3LYP to the MMFF94 minimum, further out now and then, with noise: what
semi-empirical methods and other force fields give lies about there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.data.edges import with_edges
from zoo.data.files import HEADER
from zoo.data.qm9_geometries import B3LYP, LISTED, open_geometries
from zoo.data.splits import split
from zoo.data.store import Store
from zoo.errors import DataError
from zoo.files.zoo_home import home
from zoo.structures.geometries import aligned

__all__ = ["GEOMETRIES", "open_any_geometry"]

GEOMETRIES = ("b3lyp", "mmff", "smiles", "xtb", "between")
"""Kinds of geometry; the label ``geometry`` counts along them."""
CUTOFF = 5.0
NOISE = 0.02
"""Å, standard deviation of each coordinate of kind ``between``."""
BETWEEN = (0.0, 1.4)
"""Where on the line from the B3LYP (0) to the MMFF94 minimum (1) a structure of kind ``between`` stands."""
FAR = 0.4
"""Å: where an atom is further than this from its place in the other minimum, a group has turned, and the straight line
between the two passes through pressed bonds: no structure is made."""


def open_any_geometry(path: str | Path | None = None) -> Store:
    """QM9 and its other geometries as one store, put together once and memory-mapped afterwards.

    Args:
        path: the folder that ``zoo data make qm9-geometries`` wrote, by default ``$ZOO_HOME/data/qm9-geometries``; or a
            saved store.

    Raises:
        DataError: there are no geometries.
    """
    folder = home() / "data" / "qm9-geometries" if path is None else Path(path)
    if (folder / HEADER).is_file():
        return Store.load(folder)
    listed = folder / LISTED
    if not listed.is_file() or not (folder / B3LYP / HEADER).is_file():
        raise DataError(f"{folder} holds no geometries of QM9. Fix: make them with `zoo data make qm9-geometries`, or "
                        "name their folder with --data.")
    made = json.loads(listed.read_text(encoding="utf-8"))
    digest = hashlib.sha256(json.dumps({kind: {part: entry["sha256"] for part, entry in parts.items()}
                                        for kind, parts in made.items()}, sort_keys=True).encode()).hexdigest()
    cache = home() / "data" / f"qm9-any-geometry-{digest[:12]}"
    if not (cache / HEADER).is_file():
        store = together(Store.load(folder / B3LYP), folder, [kind for kind in GEOMETRIES if kind in made])
        with_edges(store, CUTOFF, progress=True).save(cache)
    return Store.load(cache)


def together(qm9: Store, folder: Path, kinds: Sequence[str]) -> Store:
    """Every geometry of ``qm9``'s molecules that ``folder`` holds, without edges."""
    parts = {"b3lyp": qm9} | {kind: open_geometries(folder, kind, qm9=qm9) for kind in kinds}
    if "mmff" in parts:
        parts["between"] = between(qm9, parts["mmff"])
    names = list(qm9.labels)
    kind = torch.cat([torch.full((len(part),), float(GEOMETRIES.index(name)), dtype=torch.float64)
                      for name, part in parts.items()])
    stores = list(parts.values())
    return Store.from_tensors(
        torch.cat([part.z for part in stores]), torch.cat([part.pos.float() for part in stores]),
        n_atoms=torch.cat([part.n_atoms for part in stores]), ids=torch.cat([part.ids for part in stores]),
        labels={name: torch.cat([part.labels[name] for part in stores]) for name in names} | {"geometry": kind},
        units=dict(qm9.units) | {"geometry": "1"},
        meta=dict(qm9.meta) | {"name": "qm9-any-geometry", "kinds": {"label": "geometry", "names": list(GEOMETRIES)}},
    )


def between(qm9: Store, mmff: Store) -> Store:
    """A structure between the two minima for each molecule of the training split; which one follows from its id."""
    chosen = mmff.subset(split(mmff.ids, "train"))
    row_of = {gdb: row for row, gdb in enumerate(qm9.ids.tolist())}
    ptr, qm9_ptr = chosen.ptr.tolist(), qm9.ptr.tolist()
    pos, qm9_pos = chosen.pos.double().numpy(), qm9.pos.double().numpy()
    made, kept = [], []
    for row, gdb in enumerate(chosen.ids.tolist()):
        first = qm9_ptr[row_of[gdb]]
        start = qm9_pos[first : first + ptr[row + 1] - ptr[row]]
        end = aligned(pos[ptr[row] : ptr[row + 1]], start)
        if np.linalg.norm(end - start, axis=1).max() > FAR:
            continue
        random = np.random.default_rng([gdb, 1])
        made.append(start + random.uniform(*BETWEEN) * (end - start) + random.normal(0, NOISE, start.shape))
        kept.append(row)
    some: Tensor = torch.tensor(kept, dtype=torch.int64)
    store = chosen.subset(some)
    return Store.from_tensors(store.z, torch.from_numpy(np.concatenate(made)).float(), n_atoms=store.n_atoms,
                              ids=store.ids, labels=store.labels, units=store.units, meta=store.meta)

