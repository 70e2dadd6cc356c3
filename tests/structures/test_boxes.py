"""Molecules out of their boxes."""

from __future__ import annotations

import ase.build
import numpy as np
import pytest

from zoo.errors import StructureError
from zoo.structures.boxes import without_box


@pytest.mark.parametrize("name", ["CH3CH2OH", "C6H6"])
def test_a_molecule_that_the_boundary_cuts_is_put_together(name):
    molecule = ase.build.molecule(name, vacuum=3.0)
    boxed = molecule.copy()
    boxed.pbc = True
    boxed.positions += 0.5 * boxed.cell.lengths()
    boxed.wrap()
    free = without_box(boxed)
    assert not free.pbc.any() and free.cell.rank == 0
    np.testing.assert_allclose(free.get_all_distances(), molecule.get_all_distances(), atol=1e-12)


def test_what_the_boundary_does_not_cut_stays_where_it_is():
    boxed = ase.build.molecule("H2O", vacuum=3.0)
    boxed.pbc = True
    assert np.array_equal(without_box(boxed).positions, boxed.positions)
    assert np.array_equal(without_box(ase.build.molecule("H2O")).positions, ase.build.molecule("H2O").positions)


@pytest.mark.parametrize("crystal", [ase.build.bulk("Si"), ase.build.bulk("NaCl", "rocksalt", a=5.6),
                                     ase.build.graphene(vacuum=5.0)])
def test_a_crystal_is_no_molecule_in_a_box(crystal):
    crystal.pbc = True
    with pytest.raises(StructureError, match="no molecule in a box"):
        without_box(crystal)
