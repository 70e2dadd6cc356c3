"""Predictions in shards: resumed, nothing lost and nothing twice when workers die, equal to a plain run."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import chain
from pathlib import Path

import ase.build
import ase.io
import pytest

from zoo.cli import main
from zoo.errors import MissingExtraError, StructureError, ZooError
from zoo.inference.engines import Engine, LocalEngine, WorkerDied, map_shards
from zoo.inference.shards import Job, _check_plan, predict_shards
from zoo.process.shares import parse_share, slurm_share
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


def test_commands_share_the_shards(molecules, tmp_path):
    out = tmp_path / "out"
    assert predict(molecules, out, share=(1, 2)).shards == 1
    assert not (out / "summary.json").exists()
    assert predict(molecules, out, share=(0, 2)).shards == 3
    assert json.loads((out / "summary.json").read_text())["rows"] == 11


def test_another_command_that_writes_the_plan_is_not_in_the_way(molecules, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".123-abcd.plan.json").touch()
    assert predict(molecules, tmp_path / "out", share=(1, 2)).shards == 1


ARRAY = {"SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_MAX": "16", "SLURM_ARRAY_TASK_STEP": "2",
         "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_ID": "14"}
STEP = {"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "1"}


@pytest.mark.parametrize("environ, share", [
    ({}, (0, 1)),
    ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (0, 1)),  # of the job; the script itself is no step
    (STEP, (1, 3)),
    (ARRAY, (2, 4)),
    (ARRAY | STEP, (7, 12)),
    (ARRAY | {"SLURM_ARRAY_TASK_COUNT": "2"}, (0, 1)),  # --array=10,16
])
def test_slurm_says_which_share_is_this_commands(environ, share):
    assert slurm_share(environ) == share


def test_a_share_is_written_as_people_count():
    assert [parse_share(f"{k}/3") for k in (1, 2, 3)] == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "-1/3", "1/3/3"])
def test_what_is_no_share_is_said(text):
    with pytest.raises(ZooError, match=r"is no share. Fix: write --share 3/16"):
        parse_share(text)


@pytest.mark.parametrize("options", [["--engine", "ray"], ["--share", "1/2"]])
def test_engines_and_shares_need_a_folder(molecules, capsys, options):
    with pytest.raises(SystemExit):
        main(["predict", "--smiles-file", str(molecules), *options])
    assert "Fix: give --output FOLDER/ too" in capsys.readouterr().err


def test_an_engine_that_is_not_there_is_said(molecules, tmp_path, monkeypatch):
    with pytest.raises(ZooError, match=r"no engine 'dask'. Fix: choose from local, ray"):
        predict(molecules, tmp_path / "out", engine="dask")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"geometric-zoo\[ray\]"):
        predict(molecules, tmp_path / "out", engine="ray")


def test_a_card_folder_is_found_by_workers_elsewhere(molecules, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2] / "cards")
    job = _check_plan(tmp_path / "out", Job("schnet-qm9", conformers=1), [molecules], 4)
    assert job.model == f"dir:{Path('schnet-qm9').resolve()}"


@pytest.mark.parametrize("name", ["m.extxyz", "m.db"])
def test_structures_come_in_shards_too(tmp_path, capsys, name):
    ase.io.write(tmp_path / name, [ase.build.molecule(formula) for formula in ("CH4", "NH3", "H2O")])
    arguments = ["predict", str(tmp_path / name), "--output", f"{tmp_path / 'out'}/", "--shard", "2",
                 "--processes", "1"]
    for _ in range(2):
        main_ends_well(arguments)
        assert "3 structures in 2 shards" in capsys.readouterr().err
    assert [row["structure"] for row in rows_of(tmp_path / "out")] == [f"{name}#{k}" for k in range(3)]


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


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_worker_gives_the_plain_run(tmp_path):
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs the ray extra")
    path = tmp_path / "m.smi"
    path.write_text("\n".join(SMILES[:5] * 12))
    command = [sys.executable, "-m", "zoo", "predict", "--smiles-file", str(path), "--conformers", "2", "--model",
               "schnet-qm9"]
    killed = []

    def kill_one() -> None:
        # Once the first shard is there, the process that computes another is killed.
        while not list((tmp_path / "ray").glob("part-*.csv")):
            time.sleep(0.05)
        while not killed and ray_run.poll() is None:
            for pid in workers_of(ray_run.pid)[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    ray_run = subprocess.Popen([*command, "--output", f"{tmp_path / 'ray'}/", "--shard", "4", "--engine", "ray",
                                "--processes", "2"], env=os.environ | {"RAY_ADDRESS": "local"},
                               stderr=subprocess.PIPE, text=True)
    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    _, err = ray_run.communicate(timeout=500)
    assert ray_run.returncode == 2, err  # of the line that is no SMILES
    assert killed, err
    plain = subprocess.run([*command, "--csv"], capture_output=True, text=True)
    rows = rows_of(tmp_path / "ray")
    assert [row["line"] for row in rows] == [str(n) for n in range(1, 61)], err
    assert rows == list(csv.DictReader(io.StringIO(plain.stdout)))


def workers_of(pid: int) -> list[int]:
    """Ray's workers below a process that compute a shard."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True).stdout.splitlines()[1:]
    parents = {int(line.split()[0]): (int(line.split()[1]), line.split(None, 2)[2]) for line in listed}

    def below(child: int) -> bool:
        while child in parents:
            child = parents[child][0]
            if child == pid:
                return True
        return False

    return [child for child, (_, words) in parents.items() if words.startswith("ray::_one_shard")
            and below(child)]
