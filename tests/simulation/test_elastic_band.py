"""Reaction paths: those of ASE's nudged elastic band, many in one batch, and what is refused."""

from __future__ import annotations

import io
import json

import ase.build
import ase.io
import numpy as np
import pytest
from ase.constraints import FixAtoms
from ase.mep import NEB
from ase.optimize import FIRE

import zoo
from zoo.cli import main
from zoo.errors import StructureError, ZooError
from zoo.simulation import reaction_path

# The enol of acetylacetone, near a minimum of painn-acac.
START = """15

C -2.556 0.146 0.470
C -1.133 0.567 0.189
O -0.872 1.808 0.124
C -0.102 -0.415 0.015
C 1.204 0.022 -0.224
C 2.363 -0.905 -0.425
O 1.482 1.302 -0.289
H -3.249 0.769 -0.128
H -2.732 -0.926 0.262
H -2.788 0.342 1.537
H -0.327 -1.487 0.067
H 2.062 -1.965 -0.351
H 3.148 -0.691 0.329
H 2.820 -0.721 -1.419
H 0.526 1.769 -0.123
"""
ACCEPTOR, DONOR, PROTON = 2, 6, 14


@pytest.fixture(scope="module")
def model():
    return zoo.load("painn-acac", dtype="float64")


@pytest.fixture(scope="module")
def minima(model):
    """The proton at its first and at its second oxygen."""
    start = ase.io.read(io.StringIO(START), format="xyz")
    end = start.copy()
    towards = start.positions[DONOR] - start.positions[ACCEPTOR]
    end.positions[PROTON] = start.positions[ACCEPTOR] + towards / np.linalg.norm(towards)
    return model.relax([start, end], fmax=0.02, steps=1000)


def test_the_proton_passes_between_the_oxygens(model, minima):
    path = reaction_path(model, *minima, images=5, fmax=0.05)
    assert path.converged and path.fmax < 0.05 and len(path.images) == 5 and 0 < path.steps < 200
    top = path.images[path.highest]
    assert 0 < path.highest < 4 and 0.005 < path.barrier < 0.2
    assert top.get_distance(PROTON, DONOR) == pytest.approx(top.get_distance(PROTON, ACCEPTOR), abs=0.1)
    assert path.reverse_barrier == pytest.approx(path.barrier + path.energies[0] - path.energies[-1])
    assert path.coordinate[0] == 0 and (np.diff(path.coordinate) > 0.05).all()
    for image, atoms in zip(path.images, (minima[0], None, None, None, minima[1])):
        expected = (image if atoms is None else atoms).copy()
        expected.calc = model.calculator()
        assert image.get_potential_energy() == pytest.approx(expected.get_potential_energy(), abs=1e-8)
        np.testing.assert_allclose(image.get_forces(), expected.get_forces(), atol=1e-8)


def test_each_path_of_a_batch_is_the_one_it_is_alone(model, minima):
    start, end = minima
    other = end.copy()
    other.rattle(0.02, seed=0)
    both = reaction_path(model, [start, other], [end, start], images=4, fmax=0.2, steps=6)
    alone = [reaction_path(model, *pair, images=4, fmax=0.2, steps=6) for pair in ((start, end), (other, start))]
    for one, same in zip(both, alone):
        np.testing.assert_allclose(one.energies, same.energies, atol=1e-9)
        assert one.steps == same.steps


def test_fixed_atoms_stay_and_steps_end(model, minima):
    start, end = (atoms.copy() for atoms in minima)
    end.positions[0] = start.positions[0]
    for atoms in (start, end):
        atoms.set_constraint(FixAtoms([0]))
    path = reaction_path(model, start, end, images=4, fmax=1e-6, steps=3)
    assert not path.converged and path.steps == 3
    assert all(np.array_equal(atoms.positions[0], start.positions[0]) for atoms in path.images)


def test_an_atom_that_crosses_the_cell_takes_the_short_way():
    start = ase.build.bulk("Si", cubic=True)
    end = start.copy()
    start.positions[0] += [0.2, 0, 0]
    end.positions[0] -= [0.2, 0, 0]
    end.wrap()
    path = reaction_path(zoo.load("nequip-si"), start, end, images=3, steps=0)
    assert path.coordinate[-1] == pytest.approx(0.4)


@pytest.mark.parametrize(("change", "reason"), [
    (lambda atoms: atoms[::-1], "same atoms in the same order"), (lambda atoms: atoms[:-1], "same atoms"),
    (lambda atoms: None, "same structure")])
def test_ends_that_do_not_belong_together_are_refused(model, minima, change, reason):
    end = change(minima[0].copy())
    with pytest.raises(StructureError, match=rf"{reason}.*"):
        reaction_path(model, minima[0], minima[0].copy() if end is None else end)


@pytest.mark.parametrize("options", [{"images": 2}, {"fmax": 0.0}, {"spring": -1.0}, {"steps": -1}])
def test_options_without_sense_are_refused(model, minima, options):
    with pytest.raises(ZooError, match="Fix: give at least 3"):
        reaction_path(model, *minima, **options)
    with pytest.raises(ZooError, match="two lists of equal length"):
        reaction_path(model, [minima[0]], minima)


def test_the_command_writes_images_and_picture(model, minima, tmp_path, capsys):
    for name, atoms in zip("ab", minima):
        ase.io.write(tmp_path / f"{name}.xyz", atoms, format="xyz")
    command = ["neb", str(tmp_path / "a.xyz"), str(tmp_path / "b.xyz"), "-m", "painn-acac", "--images", "3",
               "--steps", "2", "--no-relax-ends", "--json", "-q", "--picture", str(tmp_path / "p.png")]
    with pytest.raises(SystemExit) as end:
        main(command)
    said = json.loads(capsys.readouterr().out)
    assert end.value.code == (0 if said["converged"] else 1) and said["barrier_eV"] > 0
    images = ase.io.read(tmp_path / "a-path.extxyz", ":")
    assert [atoms.get_potential_energy() for atoms in images] == pytest.approx(said["energies_eV"], abs=1e-6)
    assert (tmp_path / "p.png").stat().st_size > 5000


@pytest.mark.slow
def test_the_path_is_that_of_ase(model, minima):
    ours = reaction_path(model, *minima, images=7, fmax=0.01)
    band = [minima[0].copy() for _ in range(6)] + [minima[1].copy()]
    for atoms in band:
        atoms.calc = model.calculator()
    method = NEB(band, k=0.1, climb=True, method="improvedtangent")
    method.interpolate("idpp")
    FIRE(method, logfile=None).run(fmax=0.01, steps=500)
    energies = np.array([atoms.get_potential_energy() for atoms in band])
    assert ours.barrier == pytest.approx(energies.max() - energies[0], abs=2e-4)
    np.testing.assert_allclose(ours.energies, energies, atol=1e-3)
