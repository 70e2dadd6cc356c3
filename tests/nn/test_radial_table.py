from __future__ import annotations

import pytest
import torch
from geometry import random

from zoo.nn import MLP, CosineCutoff, GaussianBasis, RadialTable

CUTOFF = 5.0


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def distances(n=500):
    return torch.cat([0.4 + 4.6 * torch.rand(n), torch.tensor([0.01, CUTOFF / 2, CUTOFF - 1e-9, CUTOFF])])


def interpolated(table, function, d):
    return table(d, torch.ones_like(d))(function(table.nodes()))


@pytest.mark.parametrize("power", [0, 1, 3, 5])
def test_quintics_are_reproduced(power):
    d = distances()
    values = interpolated(RadialTable(20, CUTOFF), lambda r: (r[:, None] / CUTOFF) ** power, d)
    torch.testing.assert_close(values[:, 0], (d / CUTOFF) ** power, atol=1e-12, rtol=0)


def test_the_error_of_a_filter_network_falls_with_the_sixth_power_of_the_spacing():
    basis, network = GaussianBasis(25, CUTOFF), MLP([25, 16, 4], "ssp")
    d = distances()
    exact = network(basis(d))
    errors = [float((interpolated(RadialTable(n, CUTOFF), lambda r: network(basis(r)), d) - exact).detach().abs().max())
              for n in (125, 250, 500)]
    assert errors[0] / errors[1] > 40 and errors[1] / errors[2] > 40
    assert errors[1] < 2e-7 * float(exact.detach().abs().max())  # n = 10 times the number of Gaussians


def test_derivatives_are_continuous_across_the_grid():
    table = RadialTable(10, CUTOFF)
    values = random(19, 1)
    node = 3 * CUTOFF / 10
    sides = []
    for d in (node - 1e-9, node + 1e-9):
        d = torch.tensor([d], requires_grad=True)
        value = table(d, torch.ones(1))(values).sum()
        (first,) = torch.autograd.grad(value, d, create_graph=True)
        (second,) = torch.autograd.grad(first, d)
        sides.append(torch.stack([value.detach(), first.detach()[0], second[0]]))
    torch.testing.assert_close(sides[0], sides[1], atol=1e-6, rtol=0)


def test_values_and_distances_differentiate_twice():
    table = RadialTable(8, CUTOFF)
    d, values = torch.tensor([0.7, 2.1, 2.2, 4.99], requires_grad=True), random(17, 3).requires_grad_()

    def read(d, values):
        return table(d, CosineCutoff(CUTOFF)(d))(values)

    assert torch.autograd.gradcheck(read, (d, values))
    assert torch.autograd.gradgradcheck(read, (d, values))


def test_no_distances_read_nothing_and_give_zero_gradients():
    values = random(17, 3).requires_grad_()
    read = RadialTable(8, CUTOFF)(torch.zeros(0), torch.zeros(0))(values)
    assert read.shape == (0, 3)
    (gradient,) = torch.autograd.grad(read.sum(), values)
    assert not gradient.any()
