"""Other geometries of QM9's molecules than those of B3LYP: MMFF94 and GFN2-xTB minima, conformers from SMILES.

A folder of shards, ``KIND/SPLIT/NNNNN``: each a :class:`~zoo.data.store.Store` of up to 1,000 molecules, so that an
interrupted run continues with the missing ones. Within a split, molecules come in the order of
``by_hash(ids, "qm9-geometries")``: the first shards are a random part of it. Atoms are in QM9's order in every kind.
``ids`` are gdb indices; a molecule has one structure, or up to three of kind ``smiles``, lowest energy first.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.edge_table import EdgeTable
from zoo.data.files import HEADER
from zoo.data.qm9_published import CITATION, LICENSE
from zoo.data.splits import QM9_SIZES, QM9_TEST_SHA256, by_hash, qm9_ids
from zoo.data.store import Store
from zoo.errors import DataError, MissingExtraError
from zoo.files.atomic_writes import write_text
from zoo.process.pools import spawned
from zoo.process.progress import progress
from zoo.structures.geometries import KINDS, LABELS, METHODS, Made, molecule_geometries

__all__ = ["B3LYP", "LISTED", "SPLITS", "make", "open_geometries"]

SPLITS = ("test", "val", "train")
SHARD = 1000
B3LYP = "b3lyp"
"""Folder of QM9 itself, kept next to the geometries that are made of it."""
LISTED = "geometries.json"
"""What a folder of geometries holds: counts, versions and hashes of each kind."""
XTB_SUBSET = {"test": 1000, "val": 1000, "train": 5000}
"""GFN2-xTB takes a hundred times as long as MMFF94: molecules of each split unless a limit is given."""


# -- shards ----------------------------------------------------------------------------------------------------------


def make(qm9: Store, folder: str | Path, *, kinds: Sequence[str] | None = None, splits: Sequence[str] = SPLITS,
         limit: int | None = None, workers: int = 1, quiet: bool = True) -> dict[str, Any]:
    """Write the missing geometries of ``qm9``'s molecules, then ``geometries.json`` and ``failures.csv``.

    Args:
        qm9: QM9 or a part of it, with gdb indices as ids.
        folder: of the shards.
        kinds: of :data:`KINDS`; by default all, ``xtb`` only where tblite is installed.
        splits: of :data:`SPLITS`.
        limit: molecules of each split and kind; by default all, and :data:`XTB_SUBSET` of kind ``xtb``.
        workers: processes.
        quiet: no progress on standard error.

    Returns:
        The content of ``geometries.json``: structures, failures by reason and hashes, for each kind and split.

    Raises:
        MissingExtraError: RDKit is not installed, or tblite and kind ``xtb`` was asked for.
        DataError: shards of another version of RDKit or tblite are there.
    """
    folder = Path(folder)
    kinds = [kind for kind in KINDS if kind != "xtb" or _installed("tblite")] if kinds is None else kinds
    if not _installed("rdkit"):
        raise MissingExtraError("making geometries", "smiles")
    if "xtb" in kinds and not _installed("tblite"):
        raise MissingExtraError("geometries of GFN2-xTB", "xtb")
    if not (folder / B3LYP / HEADER).is_file() or not torch.equal(Store.load(folder / B3LYP).ids, qm9.ids.cpu()):
        replace(qm9, edges=None).save(folder / B3LYP, overwrite=True)
    row_of = {gdb: row for row, gdb in enumerate(qm9.ids.tolist())}
    plan = []
    for kind in kinds:
        for split in splits:
            ids = [gdb for gdb in by_hash(qm9_ids(split), "qm9-geometries") if gdb in row_of]  # type: ignore[arg-type]
            most = XTB_SUBSET[split] if kind == "xtb" and limit is None else limit
            plan += [(kind, split, number, ids[:most][number * SHARD : (number + 1) * SHARD])
                     for number in range(-(-len(ids[:most]) // SHARD))]
    todo = [shard for shard in plan if not _is_made(_shard(folder, *shard[:3]), shard[0], shard[3])]
    with _mapper(workers) as mapped, progress("geometries", "molecules", quiet=quiet) as report:
        done, of = 0, sum(len(shard[3]) for shard in todo)
        for kind, split, number, ids in todo:
            rows = [row_of[gdb] for gdb in ids]
            first, last = qm9.ptr[rows].tolist(), qm9.ptr[[row + 1 for row in rows]].tolist()
            numbers = [qm9.z[a:b].numpy() for a, b in zip(first, last)]
            positions = [qm9.pos[a:b].numpy() for a, b in zip(first, last)]
            made = []
            for one in mapped(partial(molecule_geometries, kind), ids, numbers, positions):
                made.append(one)
                done += 1
                report(done, of, f"{kind}, {split}")
            # Replace a shorter one, of an earlier limit.
            _to_store(kind, split, made, numbers).save(_shard(folder, kind, split, number), overwrite=True)
    return _list(folder)


def _shard(folder: Path, kind: str, split: str, number: int) -> Path:
    return folder / kind / split / f"{number:05d}"


def _is_made(shard: Path, kind: str, ids: Sequence[int]) -> bool:
    """Whether a shard with all of ``ids`` exists; refuses one made by other versions."""
    if not (shard / HEADER).is_file():
        return False
    meta = json.loads((shard / HEADER).read_text(encoding="utf-8"))["meta"]
    if meta["versions"] != _versions(kind):
        raise DataError(f"{shard} was made with {meta['versions']}, installed is {_versions(kind)}: geometries of two "
                        "versions do not mix. Fix: install those versions, or choose another folder with --out.")
    return meta["asked"][: len(ids)] == list(ids)


class _mapper:
    """``map`` in this process, or in several: results come in the order of the arguments either way."""

    def __init__(self, workers: int) -> None:
        self.pool = spawned(workers, one_thread=True) if workers > 1 else None

    def __enter__(self) -> Callable[..., Iterator[Made]]:
        return map if self.pool is None else partial(self.pool.map, chunksize=8)

    def __exit__(self, *error: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)


def _to_store(kind: str, split: str, made: Sequence[Made], numbers: Sequence[np.ndarray]) -> Store:
    z = [z for one, z in zip(made, numbers) for _ in one.positions]
    pos = [pos for one in made for pos in one.positions]
    good = [one for one in made if one.failure is None]
    meta: dict[str, Any] = {
        "name": f"qm9-geometries-{kind}", "theory": METHODS[kind], "license": LICENSE, "citation": list(CITATION),
        "split": QM9_TEST_SHA256, "part": split, "versions": _versions(kind), "asked": [one.gdb for one in made],
        "failures": {str(one.gdb): one.failure for one in made if one.failure is not None},
    }
    if kind == "bonds":
        meta["smiles"] = [one.smiles for one in good]
    return Store.from_tensors(
        torch.from_numpy(np.concatenate([*z, np.empty(0, np.uint8)])),
        torch.from_numpy(np.concatenate([*pos, np.empty((0, 3))]).astype(np.float32)),
        n_atoms=torch.tensor([len(one) for one in z], dtype=torch.int64),
        ids=torch.tensor([one.gdb for one in made for _ in one.positions], dtype=torch.int64),
        labels={name: torch.tensor([value for one in good for value in one.labels[name]], dtype=torch.float64)
                for name in LABELS[kind]},
        units=LABELS[kind], edges=_edges(good) if kind == "bonds" else None, meta=meta,
    )


def _edges(made: Sequence[Made]) -> EdgeTable:
    """Bonds in both directions, sorted by target; the attribute is the order, 1, 2 or 3 (Kekulé)."""
    tables = []
    for one in made:
        assert one.bonds is not None
        both = np.concatenate([one.bonds, one.bonds[:, [1, 0, 2]]])
        tables.append(both[np.lexsort((both[:, 0], both[:, 1]))])
    table = torch.from_numpy(np.concatenate([*tables, np.empty((0, 3), np.int64)]))
    ptr = torch.tensor([0, *np.cumsum([len(one) for one in tables])], dtype=torch.int64)
    return EdgeTable(ptr, table[:, :2].T.to(torch.uint8).contiguous(), None, attrs=table[:, 2:].float())


def _versions(kind: str) -> dict[str, str]:
    names = ("rdkit", "tblite") if kind == "xtb" else ("rdkit",)
    return {name: importlib.metadata.version(name) for name in names}


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


# -- the whole -------------------------------------------------------------------------------------------------------


def _headers(folder: Path, kind: str, split: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((folder / kind / split).glob(f"[0-9]*/{HEADER}")):
        yield path.parent, json.loads(path.read_text(encoding="utf-8"))


def _list(folder: Path) -> dict[str, Any]:
    """Count structures and failures, and write both files."""
    listed: dict[str, Any] = {}
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["kind", "split", "gdb", "reason"])
    for kind in KINDS:
        for split in SPLITS:
            headers = [header for _, header in _headers(folder, kind, split)]
            if not headers:
                continue
            failures = {int(gdb): reason for header in headers for gdb, reason in header["meta"]["failures"].items()}
            writer.writerows([kind, split, gdb, reason] for gdb, reason in sorted(failures.items()))
            digest = hashlib.sha256("".join(header["tensors"]["sha256"] for header in headers).encode()).hexdigest()
            asked = sum(len(header["meta"]["asked"]) for header in headers)
            listed.setdefault(kind, {})[split] = {
                "molecules": asked - len(failures), "of": QM9_SIZES[split],
                "structures": sum(header["structures"] for header in headers), "failed": len(failures),
                "reasons": dict(Counter(_category(reason) for reason in failures.values()).most_common()),
                "versions": headers[0]["meta"]["versions"], "sha256": digest,
            }
    write_text(folder / LISTED, json.dumps(listed, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / "failures.csv", table.getvalue())
    return listed


def _category(reason: str) -> str:
    """A reason without the details of the molecule."""
    return reason.split(" for '")[0].split(":")[0].rstrip(".")


def open_geometries(folder: str | Path, kind: str, *, splits: Iterable[str] = SPLITS,
                    qm9: Store | None = None) -> Store:
    """All geometries of one kind that exist so far, as one store.

    Args:
        folder: of :func:`make`.
        kind: of :data:`KINDS`.
        splits: of :data:`SPLITS`.
        qm9: source of labels at the B3LYP minimum, joined by gdb index; by default there are no labels.

    Raises:
        DataError: there are none, or ``qm9`` lacks a molecule.
    """
    shards = [Store.load(shard) for split in splits for shard, _ in _headers(Path(folder), kind, split)]
    if not shards:
        raise DataError(f"{folder} holds no geometries of kind '{kind}' of {', '.join(splits)}. Fix: make them with "
                        f"`zoo data make qm9-geometries --only {kind} --out {folder}`.")
    labels = {name: torch.cat([shard.labels[name] for shard in shards]) for name in LABELS[kind]}
    units = dict(LABELS[kind])
    ids = torch.cat([shard.ids for shard in shards])
    if qm9 is not None:
        labels |= {name: column[_rows(qm9, ids)] for name, column in qm9.labels.items()}
        units |= qm9.units
    of_shard = ("part", "asked", "failures", "smiles")
    meta = {name: value for name, value in shards[0].meta.items() if name not in of_shard}
    if kind == "bonds":
        meta["smiles"] = [smiles for shard in shards for smiles in shard.meta["smiles"]]
    return Store.from_tensors(
        torch.cat([shard.z for shard in shards]), torch.cat([shard.pos for shard in shards]),
        n_atoms=torch.cat([shard.n_atoms for shard in shards]), ids=ids, labels=labels, units=units, meta=meta,
        edges=_joined([shard.edges for shard in shards if shard.edges is not None]),
    )


def _rows(qm9: Store, ids: Tensor) -> Tensor:
    """Row of each gdb index in ``qm9``."""
    known, order = qm9.ids.sort()
    at = torch.searchsorted(known, ids).clamp(max=len(known) - 1)
    if not torch.equal(known[at], ids):
        missing = ids[known[at] != ids]
        raise DataError(f"{qm9!r} lacks gdb {int(missing[0])} and {len(missing) - 1} more of these geometries. "
                        "Fix: give the QM9 they were made from.")
    return order[at]


def _joined(tables: Sequence[EdgeTable]) -> EdgeTable | None:
    if not tables:
        return None
    counts = torch.cat([table.ptr.diff() for table in tables])
    return EdgeTable(torch.cat([counts.new_zeros(1), counts.cumsum(0)]), torch.cat([t.index for t in tables], 1), None,
                     attrs=torch.cat([t.attrs for t in tables if t.attrs is not None]))
