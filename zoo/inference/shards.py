"""Predictions for more molecules than fit into a run: in shards, each a file that is written whole once.

A folder holds ``plan.json`` (what is computed, of which file, with which versions), ``part-00000.csv`` or ``.parquet``
for each shard, and at the end ``failed.csv`` and ``summary.json``. The same command goes on where it was cut short.
"""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from itertools import count, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import MissingExtraError, ZooError
from zoo.files.atomic_writes import replacing, write_text
from zoo.files.hashing import sha256_of
from zoo.inference.engines import engine_named, map_shards
from zoo.inference.molecules import Average, check_conformers, embedded_for
from zoo.inference.rows import Predicted, predicted
from zoo.inference.writers import CSVWriter, Heading, cells, columns
from zoo.structures.reading import Read
from zoo.structures.smiles import CONFORMERS, SEED
from zoo.structures.smiles_files import SmilesLine

if TYPE_CHECKING:
    from zoo.model.model import Model

__all__ = ["SHARD", "Job", "Summary", "predict_shards"]

SHARD = 1024
"""Structures of a file."""
_PLAN, _SUMMARY, _FAILED = "plan.json", "summary.json", "failed.csv"

Source = SmilesLine | Read


@dataclass(frozen=True)
class Job:
    """What is computed for every structure.

    Attributes:
        model: name or folder, which every worker can load.
        form: ``csv`` or ``parquet``.
        smiles: whether tables have the columns of SMILES.

    Raises:
        StructureError: see :func:`zoo.inference.molecules.embedded_for`.
    """

    model: str
    form: str = "csv"
    smiles: bool = True
    conformers: int = CONFORMERS
    average: Average = "lowest"
    seed: int = SEED
    uncertainty: bool = True
    dtype: str = "float32"
    device: str | None = None
    max_atoms: int = 4096

    def __post_init__(self) -> None:
        check_conformers(self.average, self.conformers, self.seed)


@dataclass(frozen=True)
class Summary:
    """What a folder holds.

    Attributes:
        shards: files that are there.
        of: shards in all.
        rows: structures in them.
        failed: of these, how many have an error.
    """

    shards: int
    of: int
    rows: int
    failed: int


def predict_shards(sources: Iterable[Source], files: Sequence[Path], folder: Path, job: Job, *, engine: str = "local",
                   workers: int = 1, shard: int = SHARD, share: tuple[int, int] = (0, 1),
                   progress: Callable[[int], None] | None = None) -> Summary:
    """Compute the shards that a folder lacks.

    Args:
        sources: SMILES and structures, the same and in the same order at every call.
        files: where they are from; their hashes stand in the plan.
        folder: made if it is not there.
        job: what is computed.
        engine: of :data:`zoo.inference.engines.ENGINES`.
        workers: processes of the local engine, or of a Ray cluster that is started here.
        shard: structures of a file.
        share: (rank, number) of several commands that share the shards, see :mod:`zoo.process.shares`.
        progress: called with the number of structures of each shard that is done.

    Raises:
        ZooError: the folder holds results of another plan, or workers die of a shard again and again.
        MissingExtraError: the engine's package, or for Parquet pyarrow, is not installed.
    """
    _check_extras(job)
    job = _check_plan(folder, job, files, shard)
    sizes: list[int] = []
    rank, number_of_commands = share

    def missing() -> Iterator[tuple[int, list[Source]]]:
        rest = iter(sources)
        for number in count():
            part = list(islice(rest, shard))
            if not part:
                return
            sizes.append(len(part))
            if number % number_of_commands == rank and not _part(folder, number, job).is_file():
                yield number, part
            elif progress is not None:
                progress(len(part))

    with engine_named(engine, workers) as running:
        for number, content in map_shards(running, partial(compute_shard, job), missing()):
            with replacing(_part(folder, number, job)) as staging:
                staging.write_bytes(content)
            if progress is not None:
                progress(sizes[number])
    return _summary(folder, job, len(sizes))


def compute_shard(job: Job, sources: Sequence[Source], careful: bool = False) -> bytes:
    """The file of one shard, as bytes.

    Args:
        job: what is computed.
        sources: SMILES and structures.
        careful: embed in processes of their own, one of which may die of a molecule.
    """
    model = _loaded(job.model, job.dtype, job.device)
    heading = Heading.of(model, uncertainty=job.uncertainty, smiles=job.smiles)
    rows = predicted(model, _ready(model, job, sources, careful), average=job.average, max_atoms=job.max_atoms,
                     uncertainty=bool(heading.estimated))
    return _parquet(rows, heading) if job.form == "parquet" else _csv(rows, heading)


@lru_cache(maxsize=1)
def _loaded(name: str, dtype: str, device: str | None) -> Model:
    from zoo.loading.models import load

    return load(name, dtype=dtype, device=device)


def _ready(model: Model, job: Job, sources: Sequence[Source], careful: bool) -> Iterator[Any]:
    for is_read, part in groupby(sources, key=lambda one: isinstance(one, Read)):
        if is_read:
            yield from part
        else:
            yield from embedded_for(model, part, count=job.conformers,  # type: ignore[arg-type]
                                    average=job.average, seed=job.seed, isolated=careful)


def _csv(rows: Iterator[Predicted], heading: Heading) -> bytes:
    file = io.StringIO(newline="")
    writer = CSVWriter(file, heading)
    for row in rows:
        writer.add(row)
    return file.getvalue().encode()


def _parquet(rows: Iterator[Predicted], heading: Heading) -> bytes:
    import pyarrow
    from pyarrow import parquet

    table = list(zip(*(cells(row, heading) for row in rows)))
    kinds = {"structure": pyarrow.string(), "line": pyarrow.int64(), "smiles": pyarrow.string(),
             "outside": pyarrow.string(), "conformers": pyarrow.int32(), "note": pyarrow.string(),
             "error": pyarrow.string()}
    # A target with several components is text, as in CSV.
    fields = [(name, kinds.get(name) or _number_or_text(column)) for name, column in zip(columns(heading), table)]
    data = pyarrow.Table.from_arrays([pyarrow.array(column, kind) for column, (_, kind) in zip(table, fields)],
                                     names=[name for name, _ in fields])
    file = io.BytesIO()
    parquet.write_table(data, file)
    return file.getvalue()


def _number_or_text(column: Sequence[Any]) -> Any:
    import pyarrow

    return pyarrow.string() if any(isinstance(cell, str) for cell in column) else pyarrow.float64()


# -- the folder ------------------------------------------------------------------------------------------------------


def _part(folder: Path, number: int, job: Job) -> Path:
    return folder / f"part-{number:05d}.{job.form}"


def _check_extras(job: Job) -> None:
    if job.form == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("writing Parquet", "parquet")
    if job.smiles and importlib.util.find_spec("rdkit") is None:
        raise MissingExtraError("reading SMILES", "smiles")


def _check_plan(folder: Path, job: Job, files: Sequence[Path], shard: int) -> Job:
    """Write the plan, or compare it with the one that is there; the job as workers in other folders understand it."""
    from zoo.files.user_paths import user_path
    from zoo.loading.resolution import resolve

    found = resolve(job.model)
    place = user_path(job.model.removeprefix("dir:"))
    if place.exists():
        job = replace(job, model=f"dir:{place.resolve()}")
    job_facts = {name: value for name, value in asdict(job).items() if name not in ("device", "max_atoms", "model")}
    plan = {"model": found.card.name, "weights": found.promised.sha256, **job_facts, "shard": shard,
            "files": [{"name": file.name, "sha256": sha256_of(file)} for file in files],
            "versions": {name: importlib.metadata.version(name) for name in ("geometric-zoo", "rdkit")
                         if name == "geometric-zoo" or job.smiles}}
    path = folder / _PLAN
    if not path.is_file():
        # Another command that shares the shards may be writing the plan, under a hidden name.
        if folder.is_dir() and any(not file.name.startswith(".") for file in folder.iterdir()):
            raise ZooError(f"{folder} is not empty and has no {_PLAN}. Fix: choose a new folder.")
        write_text(path, json.dumps(plan, indent=1, ensure_ascii=False) + "\n")
        return job
    old = json.loads(path.read_text(encoding="utf-8"))
    other = [key for key in plan if old.get(key) != plan[key]]
    if other:
        now = "; ".join(f"{key} was {old.get(key)}, is {plan[key]}" for key in other)
        raise ZooError(f"{folder} holds results of another run: {now}. Fix: choose a new folder, or the same options.")
    return job


def _summary(folder: Path, job: Job, of: int) -> Summary:
    """Count what is there; if it is everything, write the failures and the counts."""
    parts = [part for number in range(of) if (part := _part(folder, number, job)).is_file()]
    rows, failures = 0, []
    for part in parts:
        for row in _table(part, job):
            rows += 1
            if row["error"]:
                failures.append(row)
    summary = Summary(len(parts), of, rows, len(failures))
    if len(parts) == of:
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, ["structure", *(["line", "smiles"] if job.smiles else []), "error"],
                                extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(failures)
        write_text(folder / _FAILED, file.getvalue())
        write_text(folder / _SUMMARY, json.dumps(asdict(summary), indent=1) + "\n")
    return summary


def _table(part: Path, job: Job) -> Iterator[dict[str, Any]]:
    wanted = ["structure", *(["line", "smiles"] if job.smiles else []), "error"]
    if job.form == "parquet":
        from pyarrow import parquet

        yield from parquet.read_table(part, columns=wanted).to_pylist()
        return
    with part.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


