from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.nn import MLP, activation, force, shifted_softplus, silu
from zoo.nn.fused.silu import FusedSiLU
from zoo.nn.fused.softplus import FusedShiftedSoftplus


@pytest.fixture(params=["plain", "fused"])
def form(request):
    with force(request.param, FusedShiftedSoftplus):
        yield


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_shifted_softplus_is_that_at_any_size_of_input(dtype):
    x = torch.tensor([-1000, -90, -30, -1e-3, 0, 1e-3, 1, 30, 90, 1000.0], dtype=dtype)
    expected = (F.softplus(x.double(), threshold=800) - math.log(2)).to(dtype)
    torch.testing.assert_close(shifted_softplus(x), expected, atol=1e-6 if dtype == torch.float32 else 1e-14, rtol=1e-6)
    moderate = x[x.abs() < 50]
    torch.testing.assert_close(shifted_softplus(moderate), (0.5 * moderate.double().exp() + 0.5).log().to(dtype),
                               atol=1e-6, rtol=1e-6)


@pytest.mark.usefixtures("form")
def test_shifted_softplus_differentiates_three_times():
    x = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(shifted_softplus, x)
    assert torch.autograd.gradgradcheck(shifted_softplus, x)
    (first,) = torch.autograd.grad(shifted_softplus(x).sum(), x, create_graph=True)

    def derivative(y):
        return torch.autograd.grad(shifted_softplus(y).sum(), y, create_graph=True)[0]

    assert torch.autograd.gradgradcheck(derivative, x)
    torch.testing.assert_close(first, torch.sigmoid(x))


def test_scaled_silu_keeps_the_variance_of_a_normal_input():
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    assert activation("scaled_silu")(x).square().mean() == pytest.approx(1.0, abs=0.03)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ZooError, match=r"'swish'.*silu.*ssp"):
        activation("swish")


def test_mlp_has_an_activation_between_layers_only_unless_asked():
    assert [type(m).__name__ for m in MLP([3, 4, 2], "tanh")] == ["Linear", "Tanh", "Linear"]
    assert type(MLP([3, 4, 2], "tanh", activate_last=True)[-1]).__name__ == "Tanh"
    assert MLP([3, 4, 2], last_bias=False)[-1].bias is None and MLP([3, 4, 2], bias=False)[0].bias is None


@pytest.mark.parametrize("scale", [1.0, 1 / 0.6])
def test_fused_silu_is_torchs_to_the_third_derivative(scale):
    x = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()

    def derivatives(function):
        found = [function(x)]
        for _ in range(3):
            found.append(torch.autograd.grad(found[-1].sin().sum(), x, create_graph=True)[0])
        return found

    with force("fused", FusedSiLU):
        found = derivatives(lambda x: silu(x, scale=scale))
    for ours, expected in zip(found, derivatives(lambda x: F.silu(x) * scale)):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)
