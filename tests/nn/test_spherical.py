"""Spherical Bessel functions and harmonics against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from zoo.nn.spherical import (
    SphericalBesselBasis,
    circular_harmonics,
    normalised_legendre,
    planar_powers,
    spherical_bessel_zeros,
)


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_zeros_are_zeros_and_none_is_skipped():
    zeros = spherical_bessel_zeros(8, 10)
    for l, row in enumerate(zeros):
        assert np.abs(scipy.special.spherical_jn(l, row)).max() < 2e-15
        grid = np.linspace(0.1, row[-1] + 1e-6, 20_000)
        changes = np.count_nonzero(np.diff(np.sign(scipy.special.spherical_jn(l, grid))))
        assert changes == len(row)


def test_the_radial_basis_is_the_closed_form_with_its_derivatives():
    cutoff = 5.0
    basis = SphericalBesselBasis(7, 6, cutoff)
    d = torch.linspace(1e-3, cutoff, 300, requires_grad=True)
    values = basis(d)
    zeros = spherical_bessel_zeros(6, 6)
    x = d.detach().numpy()
    for l, n in ((0, 0), (3, 2), (6, 5), (6, 0)):
        norm = np.sqrt(2) / abs(scipy.special.spherical_jn(l + 1, zeros[l, n]))
        z = zeros[l, n] / cutoff
        (slope,) = torch.autograd.grad(values[:, l, n].sum(), d, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), d, retain_graph=True)
        j, dj = (scipy.special.spherical_jn(l, z * x, derivative=k) for k in (False, True))
        ddj = -2 / (z * x) * dj - (1 - l * (l + 1) / (z * x) ** 2) * j
        np.testing.assert_allclose(values[:, l, n].detach(), norm * j, atol=1e-12)
        np.testing.assert_allclose(slope.detach(), norm * z * dj, atol=1e-10)
        # SciPy's side of the second derivative cancels for small x.
        np.testing.assert_allclose(curvature[20:], (norm * z**2 * ddj)[20:], atol=1e-7)


def test_the_radial_basis_is_orthonormal():
    basis = SphericalBesselBasis(4, 5, 3.0)
    x, w = np.polynomial.legendre.leggauss(200)
    x, w = torch.from_numpy((x + 1) / 2), torch.from_numpy(w / 2)
    values = basis(3.0 * x)
    for l in range(4):
        gram = torch.einsum("en,em,e->nm", values[:, l], values[:, l], w * x**2)
        torch.testing.assert_close(gram, torch.eye(5), atol=1e-12, rtol=0)


def test_float32_keeps_six_digits():
    exact, rounded = SphericalBesselBasis(7, 6, 5.0), SphericalBesselBasis(7, 6, 5.0).float()
    d = torch.linspace(0.3, 5.0, 500)
    assert float((exact(d) - rounded(d.float())).abs().max() / exact(d).abs().max()) < 2e-6


def test_circular_harmonics_are_scipys():
    cos = torch.linspace(-1, 1, 51)
    weight = torch.linspace(0.5, 2, 51)
    for l, value in enumerate(circular_harmonics(cos, 9, weight)):
        expected = np.sqrt((2 * l + 1) / (4 * np.pi)) * scipy.special.eval_legendre(l, cos.numpy()) * weight.numpy()
        np.testing.assert_allclose(value, expected, atol=1e-13)


def test_harmonics_on_the_sphere_are_orthonormal_and_scipys():
    z, w = np.polynomial.legendre.leggauss(20)
    phi = np.arange(40) * 2 * np.pi / 40
    z, phi = (torch.from_numpy(a.ravel()) for a in np.meshgrid(z, phi, indexing="ij"))
    weight = torch.from_numpy(np.repeat(w, 40) * 2 * np.pi / 40)
    rho = torch.sqrt(1 - z**2)
    real, _ = planar_powers(rho * torch.cos(phi), rho * torch.sin(phi), 6)
    legendre = normalised_legendre(z, 6, torch.ones_like(z))
    harmonics = [q * (1 if m == 0 else real[m - 1]) for m in range(6) for q in legendre[m]]
    gram = torch.stack(harmonics) * weight @ torch.stack(harmonics).T
    torch.testing.assert_close(gram, torch.eye(21), atol=1e-12, rtol=0)
    # m = 2, l = 3, with Condon and Shortley's (−1)^m taken out.
    norm = np.sqrt(7 / (4 * np.pi) * 1 / 120 * 2)
    expected = norm * scipy.special.lpmv(2, 3, z.numpy()) * np.cos(2 * phi.numpy())
    np.testing.assert_allclose(legendre[2][1] * real[1], expected, atol=1e-13)


def test_harmonics_are_smooth_at_the_poles():
    """x, y → the harmonics near the pole: second derivatives exist where the polar angle has none."""

    def value(x, y):
        real, _ = planar_powers(x, y, 5)
        legendre = normalised_legendre(torch.sqrt(1 - x * x - y * y), 5, torch.ones_like(x))
        return torch.stack([q * (1 if m == 0 else real[m - 1]) for m in range(5) for q in legendre[m]])

    arguments = (torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True))
    assert torch.autograd.gradcheck(value, arguments)
    assert torch.autograd.gradgradcheck(value, arguments)
