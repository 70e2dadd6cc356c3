from __future__ import annotations

import math

import pytest
import torch

from zoo.nn import BesselBasis, CosineCutoff, GaussianBasis, PolynomialEnvelope

CUTOFF = 5.0


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_gaussians_peak_at_their_centres_and_fall_to_one_sigma_at_the_next():
    basis = GaussianBasis(6, CUTOFF)(torch.arange(6.0))
    torch.testing.assert_close(basis.diagonal(), torch.ones(6))
    torch.testing.assert_close(basis.diagonal(1), torch.full((5,), math.exp(-0.5)))


def test_bessel_functions_are_orthonormal_in_the_ball():
    """∫ b_m b_n r² dr over 0…c is δ_mn with scale √(2/c)."""
    r = torch.linspace(1e-9, CUTOFF, 20001)
    b = BesselBasis(5, CUTOFF, scale=math.sqrt(2 / CUTOFF))(r)
    overlap = torch.trapezoid(b[:, :, None] * b[:, None] * r[:, None, None] ** 2, r, dim=0)
    torch.testing.assert_close(overlap, torch.eye(5), atol=1e-6, rtol=0)


def test_trainable_frequencies_are_parameters_and_fixed_ones_stay_out_of_the_state():
    assert [n for n, _ in BesselBasis(4, CUTOFF, trainable=True).named_parameters()] == ["frequencies"]
    assert not BesselBasis(4, CUTOFF).state_dict() and not GaussianBasis(4, CUTOFF).state_dict()


POLYNOMIALS = [(PolynomialEnvelope(CUTOFF, p=p), 2) for p in (4, 5, 6)]


@pytest.mark.parametrize(("envelope", "order"), [(CosineCutoff(CUTOFF), 1), *POLYNOMIALS],
                         ids=["cosine", "p4", "p5", "p6"])
def test_envelopes_fall_from_one_to_zero_with_vanishing_derivatives(envelope, order):
    at_zero, at_cutoff, beyond = envelope(torch.tensor([0.0, CUTOFF, CUTOFF + 1.0]))
    assert at_zero == 1 and abs(at_cutoff) < 1e-14 and abs(beyond) < 1e-14
    d = torch.tensor([CUTOFF - 1e-7], requires_grad=True)
    value = envelope(d).sum()
    for _ in range(order):
        (value,) = torch.autograd.grad(value, d, create_graph=True)
        assert abs(value) < 1e-5
    falling = envelope(torch.linspace(0, CUTOFF, 50)).diff()
    assert (falling <= 0).all()


MAKERS = [lambda: GaussianBasis(8, CUTOFF), lambda: BesselBasis(8, CUTOFF), lambda: CosineCutoff(CUTOFF),
          lambda: PolynomialEnvelope(CUTOFF)]


@pytest.mark.parametrize("make", MAKERS, ids=["gaussian", "bessel", "cosine", "polynomial"])
def test_they_take_no_edges_and_differentiate_twice(make):
    module = make()
    assert module(torch.zeros(0)).shape[0] == 0
    d = torch.tensor([0.7, 2.0, 4.9], requires_grad=True)
    assert torch.autograd.gradgradcheck(module, d)
