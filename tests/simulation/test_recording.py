"""Trajectories, logs and restart files: whole, in one piece, and the same after an interruption."""

from __future__ import annotations

import ase.build
import ase.io
import numpy as np
import pytest
from springs import morse_model

from zoo.errors import ZooError
from zoo.simulation import Dynamics
from zoo.simulation.pictures import draw_energies
from zoo.simulation.recording import Recorder, Restart, files_of, read_log

SETTINGS = {"temperature": 300.0, "seed": 3}


def begin(folder, replicas=1, resume=None):
    files = files_of(folder / "run.extxyz", replicas)
    dynamics = Dynamics(morse_model(), [ase.build.molecule("H2O")] * replicas, ensemble="nvt", temperature=300, seed=3)
    recorder = Recorder(files, dynamics, SETTINGS, resume=resume)
    if resume is not None:
        dynamics.load_state_dict(resume.state)
    return dynamics, recorder


def go(dynamics, recorder, steps, every=5):
    for _ in range(steps):
        dynamics.step()
        if dynamics.steps_done % every == 0:
            recorder.record()


@pytest.mark.parametrize("replicas", [1, 2])
def test_an_interrupted_run_leaves_the_files_of_an_uninterrupted_one(tmp_path, replicas):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    dynamics, recorder = begin(tmp_path / "whole", replicas)
    go(dynamics, recorder, 40)
    recorder.close()
    dynamics, recorder = begin(tmp_path / "parts", replicas)
    go(dynamics, recorder, 17)
    recorder.checkpoint()
    # It goes on, records more, and dies while it writes: none of this is in the restart file.
    go(dynamics, recorder, 10)
    recorder._handles[0].write(b"3\nLattice=")
    recorder.close()
    files = recorder.files
    dynamics, recorder = begin(tmp_path / "parts", replicas, resume=Restart.read(files.restart))
    assert dynamics.steps_done == 17
    go(dynamics, recorder, 23)
    recorder.close()
    for path in [*files.trajectories, files.log]:
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()
    frames = ase.io.read(files.trajectories[-1], ":")
    assert [int(frame.info["step"]) for frame in frames] == list(range(5, 45, 5))
    assert frames[0].get_forces().shape == (3, 3) and abs(frames[0].get_momenta()).max() > 0
    log = read_log(files.log)
    assert len(log["step"]) == 8 * replicas
    mine = log["replica"] == replicas - 1
    for key, column in {"temperature_K": "temperature_K", "time_fs": "time_fs"}.items():
        assert [frame.info[key] for frame in frames] == pytest.approx(log[column][mine], rel=1e-7)
    assert np.ptp(log["conserved_eV"]) < 0.1 < np.ptp(log["total_eV"])


def test_nothing_is_overwritten(tmp_path):
    begin(tmp_path)[1].close()
    with pytest.raises(ZooError, match="--restart"):
        begin(tmp_path)


def test_a_restart_needs_its_own_settings_and_files(tmp_path):
    dynamics, recorder = begin(tmp_path)
    go(dynamics, recorder, 10)
    recorder.checkpoint()
    recorder.close()
    resume = Restart.read(recorder.files.restart)
    resume.check(SETTINGS)
    with pytest.raises(ZooError, match=r"temperature = 300.0, and now it is 600"):
        resume.check({**SETTINGS, "temperature": 600.0})
    recorder.files.trajectories[0].write_bytes(b"short")
    with pytest.raises(ZooError, match="at least"):
        begin(tmp_path, resume=resume)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"step,energy\n"])
def test_a_file_that_is_no_restart_file_is_named(tmp_path, content):
    (tmp_path / "x.restart.npz").write_bytes(content)
    with pytest.raises(ZooError, match=r"x.restart.npz: is no restart file"):
        Restart.read(tmp_path / "x.restart.npz")
    with pytest.raises(ZooError, match="no such"):
        Restart.read(tmp_path / "y.restart.npz")


def test_the_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    dynamics, recorder = begin(tmp_path, replicas=2)
    recorder.record()
    go(dynamics, recorder, 10)
    recorder.close()
    draw_energies(recorder.files.log, recorder.files.picture, n_atoms=3, title="water")
    assert recorder.files.picture.stat().st_size > 5000
