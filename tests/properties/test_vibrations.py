"""Exact second derivatives, against finite displacements of ASE."""

from __future__ import annotations

import ase.build
import numpy as np
from ase.vibrations import Vibrations
from springs import morse_model

from zoo.properties import vibrations
from zoo.simulation import relax


def test_vibrations_of_ase_agree_with_the_exact_hessian(tmp_path):
    model = morse_model()
    atoms = relax(model, ase.build.molecule("H2O"), fmax=1e-6, steps=2000)
    atoms.calc = model.calculator()
    finite = Vibrations(atoms, name=str(tmp_path / "vib"), delta=1e-4)
    finite.run()
    np.testing.assert_allclose(finite.get_frequencies()[6:].real, vibrations(model, atoms).get_frequencies()[6:].real,
                               rtol=1e-5)
