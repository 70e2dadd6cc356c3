"""Functions that keep their arguments alone: the same numbers, and derivatives of any order."""

from __future__ import annotations

import torch
from geometry import random

from zoo.graph.tracing import traced
from zoo.nn import Recomputed


class Product(Recomputed):
    """x_0 · x_1 · x_1, and a record of what was asked."""

    def __init__(self):
        self.asked = []

    def value(self, a, b):
        return (a * b * b,)

    def gradients(self, asked, grads, a, b):
        self.asked.append(asked)
        return grads[0] * b * b, 2 * grads[0] * a * b

    def plain(self, a, b):
        return self.value(a, b)


def test_an_argument_that_is_made_from_another_is_differentiated_once():
    """b = a²: f = a·b² = a⁵, to the third order."""
    a = random(4).abs().requires_grad_()
    (f,) = Product()(a, a * a)
    for order, factor in enumerate((5, 20, 60)):
        (f,) = torch.autograd.grad(f.sum(), a, create_graph=True)
        torch.testing.assert_close(f, factor * a ** (4 - order))


def test_only_what_leads_on_is_asked_for():
    function, a, b = Product(), random(4).requires_grad_(), random(4, seed=1).requires_grad_()
    (f,) = function(a, b)
    (by_a,) = torch.autograd.grad(f.sum(), a)
    torch.testing.assert_close(by_a, b.detach() ** 2)
    assert function.asked == [(True, False)]


def test_it_is_for_many_numbers_of_one_dtype_and_constants():
    of, weight = (torch.zeros(2), torch.zeros(3)), torch.zeros(2)
    assert Recomputed.pays(10**8, weight, of=of)
    assert not Recomputed.pays(1000, weight, of=of)
    assert not Recomputed.pays(10**8, weight.requires_grad_(), of=of)
    assert not Recomputed.pays(10**8, of=(of[0], of[1].double()))
    with traced():
        assert not Recomputed.pays(10**8, of=of)
