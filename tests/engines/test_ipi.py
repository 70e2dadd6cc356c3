"""i-PI's protocol: forces of the model for the positions and the cell that the server sends, until it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from ase.calculators.socketio import SocketIOCalculator

import zoo
from zoo.cli import main
from zoo.engines.ipi import run_client
from zoo.errors import StructureError, ZooError

# ASE leaves sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
INPUT = """
<simulation verbosity='low'>
  <output prefix='path'>
    <properties stride='1'> [ step, conserved, temperature{kelvin}, potential{electronvolt} ] </properties>
  </output>
  <total_steps> 10 </total_steps>
  <prng> <seed> 1 </seed> </prng>
  <ffsocket name='zoo' mode='unix' pbc='false'> <address> NAME </address> </ffsocket>
  <system>
    <initialize nbeads='4'>
      <file mode='ase' units='ase'> start.extxyz </file>
      <velocities mode='thermal' units='kelvin'> 300 </velocities>
    </initialize>
    <forces> <force forcefield='zoo'/> </forces>
    <motion mode='dynamics'>
      <dynamics mode='nvt'>
        <thermostat mode='pile_g'> <tau units='femtosecond'> 50 </tau> </thermostat>
        <timestep units='femtosecond'> 0.25 </timestep>
      </dynamics>
    </motion>
    <ensemble> <temperature units='kelvin'> 300 </temperature> </ensemble>
  </system>
</simulation>
"""


@pytest.fixture(scope="module")
def ethanol():
    return zoo.load("painn-ethanol", dtype="float64")


@pytest.mark.parametrize("how", ["unix", "internet"])
def test_a_server_gets_the_numbers_of_the_calculator(ethanol, how):
    name = f"zoo-test-{os.getpid()}"
    where = {"unixsocket": name} if how == "unix" else {"port": 20000 + os.getpid() % 20000}
    address = {"socket": name} if how == "unix" else {"port": where["port"]}
    atoms, counts = ase.build.molecule("CH3CH2OH"), []
    client = threading.Thread(target=lambda: counts.append(run_client(ethanol, atoms, **address)))
    client.start()
    moved = atoms.copy()
    with SocketIOCalculator(timeout=60, **where) as server:
        moved.calc = server
        for seed in range(3):
            moved.rattle(0.05, seed=seed)
            expected = moved.copy()
            expected.calc = ethanol.calculator()
            assert moved.get_potential_energy() == pytest.approx(expected.get_potential_energy(), abs=1e-8)
            np.testing.assert_allclose(moved.get_forces(), expected.get_forces(), atol=1e-8)
    client.join(60)
    assert counts == [3] and not client.is_alive()


def test_where_nobody_listens_is_said(ethanol):
    with pytest.raises(ZooError, match=r"nobody listens at /tmp/ipi_nobody.* Fix: start i-PI first"):
        run_client(ethanol, ase.build.molecule("CH3CH2OH"), socket="nobody", wait=0)


def test_the_command_needs_one_structure(tmp_path, capsys):
    ase.io.write(tmp_path / "two.xyz", [ase.build.molecule("CH3CH2OH")] * 2)
    with pytest.raises(SystemExit) as end:
        main(["run-ipi", str(tmp_path / "two.xyz"), "--model", "painn-ethanol", "--wait", "0"])
    assert end.value.code == 2 and "has 2 structures" in capsys.readouterr().err


def test_what_the_model_refuses_ends_the_client(ethanol):
    name, atoms, caught = f"zoo-refused-{os.getpid()}", ase.build.molecule("CH3CH2OH"), []

    def serve() -> None:
        try:
            run_client(ethanol, atoms, socket=name)
        except StructureError as error:
            caught.append(str(error))

    client = threading.Thread(target=serve)
    client.start()
    pressed = atoms.copy()
    pressed.positions[1] = pressed.positions[0] + 0.01
    with pytest.raises(Exception), SocketIOCalculator(unixsocket=name, timeout=60) as server:  # noqa: B017
        pressed.calc = server
        pressed.get_potential_energy()
    client.join(60)
    assert len(caught) == 1 and "Å apart" in caught[0]


@pytest.mark.slow
def test_path_integrals_with_ipi_itself(tmp_path):
    program = shutil.which("i-pi") or shutil.which("i-pi", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("pip install ipi")
    ase.io.write(tmp_path / "start.extxyz", ase.build.molecule("CH3CH2OH", vacuum=10.0))
    name = f"zoo-ipi-{os.getpid()}"
    (tmp_path / "input.xml").write_text(INPUT.replace("NAME", name))
    with open(tmp_path / "said", "w") as said:
        server = subprocess.Popen([program, "input.xml"], cwd=tmp_path, stdout=said, stderr=said)
        command = [sys.executable, "-m", "zoo", "run-ipi", "start.extxyz", "-m", "painn-ethanol", "--no-pbc",
                   "--socket", name]
        client = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert server.wait(60) == 0, (tmp_path / "said").read_text()[-2000:]
    assert client.returncode == 0 and "times" in client.stderr, client.stderr
    rows = np.loadtxt(tmp_path / "path.out")
    assert len(rows) == 11 and np.ptp(rows[:, 1]) < 0.02  # hartree
    assert rows[:, 3].mean() == pytest.approx(-4210, abs=5)
