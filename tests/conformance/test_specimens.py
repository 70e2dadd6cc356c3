"""The structures that the kit checks with: of the model's own elements, whatever these are."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.conformance import specimens


@pytest.mark.parametrize("elements", [(14,), (1,), (29, 79), (1, 6, 7, 8, 9), tuple(range(1, 90))])
def test_every_specimen_has_elements_of_the_domain_alone(elements):
    made = [specimens.molecule(elements), specimens.single_atom(elements), specimens.crystal(elements),
            *specimens.mixed(elements), *specimens.symmetric_sites(elements).values(),
            *specimens.traveller(elements, [2.0, 3.0])]
    numbers = {int(z) for atoms in made for z in atoms.numbers}
    numbers |= set(specimens.many_neighbors(elements, 5.0).z.tolist())
    assert numbers <= set(elements)


def test_the_traveller_is_as_far_from_the_first_atom_as_was_asked():
    near, far = specimens.traveller((1, 6, 8), [1.5, 4.0])
    assert near.get_distance(0, -1) == pytest.approx(1.5) and far.get_distance(0, -1) == pytest.approx(4.0)
    others = [near.get_distance(-1, k) for k in range(1, len(near) - 1)]
    assert min(others) > 1.5 and np.allclose(near.positions[:-1], far.positions[:-1])
