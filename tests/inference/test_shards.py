"""Predictions in shards: resumed, nothing lost and nothing twice when workers die, equal to a plain run."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import time
from itertools import chain
from pathlib import Path

import ase.build
import ase.io
import pytest

from zoo.cli import main
from zoo.errors import StructureError, ZooError
from zoo.inference.engines import Engine, LocalEngine, WorkerDied, map_shards
from zoo.inference.shards import Job, predict_shards, slurm_share
from zoo.structures.smiles_files import read_smiles

pytest.importorskip("rdkit")

SMILES = ["CCO", "C1CC1", "C(", "N", "CC=O", "CCl", "CO", "C#N", "OC=O", "CF", "O"]


@pytest.fixture
def molecules(tmp_path):
    path = tmp_path / "m.smi"
    path.write_text("\n".join(SMILES))
    return path


def rows_of(folder: Path) -> list[dict[str, str]]:
    parts = sorted(folder.glob("part-*.csv"))
    return list(chain.from_iterable(csv.DictReader(io.StringIO(part.read_text())) for part in parts))


def predict(path: Path, folder: Path, **options):
    job = Job("schnet-qm9", conformers=1, form=options.pop("form", "csv"))
    return predict_shards(read_smiles(path), [path], folder, job, shard=4, **options)


def test_shards_hold_what_a_plain_run_gives(molecules, tmp_path, capsys):
    done = []
    summary = predict(molecules, tmp_path / "out", progress=done.append)
    assert (summary.shards, summary.of, summary.rows, summary.failed) == (3, 3, 11, 2)
    assert sorted(done) == [3, 4, 4]
    with pytest.raises(SystemExit):
        main(["predict", "schnet-qm9", "--smiles-file", str(molecules), "--conformers", "1", "--csv"])
    plain = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    rows = rows_of(tmp_path / "out")
    assert [row["line"] for row in rows] == [str(k) for k in range(1, 12)]
    assert rows == plain
    failed = list(csv.DictReader(io.StringIO((tmp_path / "out" / "failed.csv").read_text())))
    assert [row["line"] for row in failed] == ["3", "6"]


@pytest.mark.parametrize("wrong", [{"average": "median"}, {"conformers": 0}, {"seed": 0}])
def test_options_are_checked_before_anything_is_written(molecules, tmp_path, wrong):
    with pytest.raises(StructureError, match="Fix:"):
        predict_shards(read_smiles(molecules), [molecules], tmp_path / "out", Job("schnet-qm9", **wrong))
    assert not (tmp_path / "out").exists()


def test_a_second_run_makes_only_what_is_missing(molecules, tmp_path):
    out = tmp_path / "out"
    predict(molecules, out)
    kept = (out / "part-00000.csv").stat().st_mtime_ns
    before = (out / "part-00001.csv").read_text()
    (out / "part-00001.csv").unlink()
    assert predict(molecules, out).rows == 11
    assert (out / "part-00001.csv").read_text() == before
    assert (out / "part-00000.csv").stat().st_mtime_ns == kept
    molecules.write_text("CCO")
    with pytest.raises(ZooError, match=r"another run: files was .* Fix: choose a new folder"):
        predict(molecules, out)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(ZooError, match="not empty"):
        predict(molecules, tmp_path / "full")


def test_commands_of_a_job_step_share_the_shards(molecules, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert slurm_share() == (0, 1)
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "2")  # of the job; the script itself is no step
    assert slurm_share() == (0, 1)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    assert slurm_share() == (1, 2)
    assert predict(molecules, out, share=(1, 2)).shards == 1
    assert not (out / "summary.json").exists()
    assert predict(molecules, out, share=(0, 2)).shards == 3
    assert json.loads((out / "summary.json").read_text())["rows"] == 11


def test_structures_come_in_shards_too(tmp_path, capsys):
    ase.io.write(tmp_path / "m.extxyz", [ase.build.molecule(name) for name in ("CH4", "NH3", "H2O")])
    arguments = ["predict", str(tmp_path / "m.extxyz"), "--output", f"{tmp_path / 'out'}/", "--shard", "2",
                 "--processes", "1"]
    for _ in range(2):
        main_ends_well(arguments)
        assert "3 structures in 2 shards" in capsys.readouterr().err
    assert [row["structure"] for row in rows_of(tmp_path / "out")] == ["m.extxyz#0", "m.extxyz#1", "m.extxyz#2"]


def main_ends_well(arguments: list[str]) -> None:
    try:
        main(arguments)
    except SystemExit as end:
        assert end.code in (0, None)


def test_parquet_in_and_out(molecules, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "m.parquet"
    parquet.write_table(pyarrow.table({"id": list(range(11)), "SMILES": [*SMILES[:10], None]}), path)
    lines = list(read_smiles(path))
    assert [line.smiles for line in lines] == [*SMILES[:10], ""]
    assert (lines[3].line, lines[3].name) == (4, "3")
    assert predict(path, tmp_path / "out", form="parquet").failed == 3
    table = parquet.read_table(tmp_path / "out" / "part-00002.parquet").to_pylist()
    assert [row["line"] for row in table] == [9, 10, 11]
    assert table[2]["U0 [eV]"] is None
    assert "no SMILES" in table[2]["error"]
    predict(molecules, tmp_path / "plain")
    assert [str(row["U0 [eV]"]) for row in table[:2]] == [row["U0 [eV]"] for row in rows_of(tmp_path / "plain")[8:10]]


class MortalEngine(Engine):
    """Runs in this process; its workers die of the shards in ``deadly`` so many times."""

    workers = 2

    def __init__(self, deadly: dict[int, int]) -> None:
        self.deadly, self.most = deadly, 0

    def __exit__(self, *error: object) -> None:
        pass

    def submit(self, work, shard, again):
        return (work, shard, again, object())

    def first(self, handles):
        self.most = max(self.most, len(handles))
        return handles[-1]

    def result(self, handle):
        work, shard, again, _ = handle
        if self.deadly.get(shard, 0):
            self.deadly[shard] -= 1
            raise WorkerDied("gone")
        return work(shard, again)


def test_a_shard_whose_worker_died_is_computed_again_with_care():
    engine = MortalEngine({3: 2, 7: 1})
    results = list(map_shards(engine, lambda shard, again: f"{shard}{again}".encode(), ((n, n) for n in range(10))))
    assert sorted(number for number, _ in results) == list(range(10))
    assert {number for number, content in results if content.endswith(b"True")} == {3, 7}
    assert engine.most == 4  # shards are read as workers get free
    with pytest.raises(ZooError, match="workers die of shard 3"):
        list(map_shards(MortalEngine({3: 4}), lambda shard, again: b"", ((n, n) for n in range(10))))


def slow_square(shard: int, again: bool) -> bytes:
    time.sleep(0.5)
    return str(shard**2).encode()


@pytest.mark.slow
def test_a_process_that_is_killed_loses_nothing():
    with LocalEngine(2) as engine:
        results = {}
        for number, content in map_shards(engine, slow_square, ((n, n) for n in range(8))):
            assert number not in results
            results[number] = content
            if len(results) == 2:
                os.kill(next(iter(engine._pool._processes)), signal.SIGKILL)
    assert results == {n: str(n**2).encode() for n in range(8)}
