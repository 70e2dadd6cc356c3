"""The representation matrices themselves, against their definition."""

from __future__ import annotations

import pytest
import torch
from e3nn import o3

from zoo.nn.rotations import random_rotation, transform, wigner_d


@pytest.mark.parametrize("l", range(5))
def test_wigner_matrices_are_an_orthogonal_representation(l):
    a, b = random_rotation(1), random_rotation(2)
    torch.testing.assert_close(wigner_d(l, a) @ wigner_d(l, b), wigner_d(l, a @ b), atol=1e-12, rtol=0)
    torch.testing.assert_close(wigner_d(l, a) @ wigner_d(l, a).T, torch.eye(2 * l + 1).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(wigner_d(l, a), o3.Irrep(l, 1).D_from_matrix(a), atol=1e-5, rtol=0)


def test_the_vector_irrep_is_the_matrix_itself():
    torch.testing.assert_close(wigner_d(1, random_rotation(5)), random_rotation(5), atol=1e-14, rtol=0)


def test_parity_decides_what_a_reflection_does():
    mirror = torch.diag(torch.tensor([-1.0, 1, 1], dtype=torch.float64))
    h = torch.tensor([[1.0, 2.0, 3, 4, 5, 6, 7, 8]], dtype=torch.float64)
    expected = torch.tensor([[1.0, -2.0, -3, 4, 5, 6, -7, -8]], dtype=torch.float64)
    torch.testing.assert_close(transform("0e+0o+1o+1e", h, mirror), expected)
