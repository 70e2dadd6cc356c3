"""The proton of acetylacetone from one oxygen to the other, by ASE's nudged elastic band on a bundled model."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.mep import NEB
from ase.optimize import BFGS

import zoo

FRAMES = Path(str(files("zoo.data"))) / "samples" / "acac" / "frames.xyz"


@pytest.mark.slow
def test_the_proton_goes_over_a_low_barrier_from_oxygen_to_oxygen():
    model = zoo.load("nequip-acac", dtype="float64")
    here = model.relax(ase.io.read(FRAMES, index=0), fmax=0.01)
    distances = here.get_all_distances()
    oxygens = np.flatnonzero(here.numbers == 8)
    proton = min(np.flatnonzero(here.numbers == 1), key=lambda h: distances[h, oxygens].min())
    donor, acceptor = sorted(oxygens, key=lambda o: distances[proton, o])
    there = here.copy()
    along = here.positions[proton] - here.positions[acceptor]
    there.positions[proton] = here.positions[acceptor] + along / np.linalg.norm(along) * distances[proton, donor]
    there = model.relax(there, fmax=0.01)
    images = [here.copy() for _ in range(6)] + [there.copy()]
    for image in images:
        image.calc = model.calculator()
    path = NEB(images, climb=True, method="improvedtangent")
    path.interpolate("idpp")
    assert BFGS(path, logfile=None).run(fmax=0.05, steps=100)
    energies = 1000 * np.array([image.get_potential_energy() for image in images])
    top = images[int(energies.argmax())]
    # The ends mirror each other but for the methyl groups, whose turning costs about as much as the proton's way.
    assert abs(energies[-1] - energies[0]) < 30
    assert 2 < energies.max() - max(energies[0], energies[-1]) < 100
    assert abs(top.get_distance(proton, donor) - top.get_distance(proton, acceptor)) < 0.2
