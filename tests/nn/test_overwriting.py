"""Operations that overwrite an argument: the plain result, and no argument overwritten that autograd needs."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from zoo.nn.fused.overwriting import add_overwriting, multiply_overwriting, silu_overwriting

OPERATIONS = [(add_overwriting, torch.add), (multiply_overwriting, torch.mul),
              (lambda x, y: silu_overwriting(x), lambda x, y: F.silu(x))]


@pytest.mark.parametrize(("overwriting", "plain"), OPERATIONS, ids=["add", "multiply", "silu"])
def test_the_argument_holds_the_result_only_where_no_gradient_is_recorded(overwriting, plain):
    x, y = torch.randn(5, 3), torch.randn(5, 1)
    expected, kept = plain(x, y), x.clone()
    torch.testing.assert_close(overwriting(x, y), expected)
    assert torch.equal(x, kept)
    with torch.no_grad():
        found = overwriting(x, y)
    assert found.data_ptr() == x.data_ptr()
    torch.testing.assert_close(found, expected)


def test_the_result_has_the_wider_type_of_two():
    x, y = torch.randn(4).bfloat16(), torch.randn(4)
    with torch.no_grad():
        assert multiply_overwriting(x, y).dtype == torch.float32


def test_gradients_are_those_of_the_plain_operations():
    x = torch.randn(6, dtype=torch.float64, requires_grad=True)
    y = torch.randn(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda x, y: silu_overwriting(add_overwriting(multiply_overwriting(x * 1, y), y)), (x, y))
