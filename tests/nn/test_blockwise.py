from __future__ import annotations

import pytest
import torch

from zoo.nn import blockwise


@pytest.mark.parametrize("rows", [0, 1, 1000, 5000])
def test_the_result_is_that_of_one_call(rows):
    x, y = torch.randn(rows, 64), torch.randn(rows, 3, 8)
    calls = []

    def function(a, b):
        calls.append(len(a))
        return a[:, :8] * b.sum(1)

    with torch.no_grad():
        torch.testing.assert_close(blockwise(function, x, y), x[:, :8] * y.sum(1))
    assert sum(calls) == rows
    threads = torch.get_num_threads()
    assert max(calls) <= 1024 * threads
    calls.clear()
    with torch.no_grad():
        blockwise(function, x, y, width=64_000)
    assert max(calls) <= threads


def test_with_gradients_it_is_one_call():
    x = torch.randn(5000, 64, requires_grad=True)
    calls = []

    def function(a):
        calls.append(len(a))
        return a.square()

    (gradient,) = torch.autograd.grad(blockwise(function, x).sum(), x)
    assert calls == [5000]
    torch.testing.assert_close(gradient, 2 * x)
