"""The demonstrations of a course on equivariance, to its printed digits, and on any irreps to the last."""

from __future__ import annotations

import ase.build
import pytest
import torch
from e3nn import o3

from zoo.errors import ZooError
from zoo.lab.equivariance import equivariance
from zoo.lab.symmetry import (
    block_diagonal,
    change_of_basis,
    nearest_rotation,
    products,
    representation,
    transformed,
)
from zoo.loading.models import create
from zoo.nn.rotations import random_rotation

X, Y = torch.tensor([-0.1222, -0.7573, 1.0416]), torch.tensor([0.3303, 0.5315, -1.0235])
ROUNDED = torch.tensor([[0.1437, -0.9875, 0.0642], [0.9593, 0.1549, 0.2360], [-0.2430, 0.0276, 0.9696]])
R = nearest_rotation(ROUNDED)
SPHERICAL = torch.tensor([-0.8712, 0.1566, 0.1548, 0.1309, 0.3317, -0.2228, 0.1231, 0.9395, -0.7253])
SPHERICAL_TURNED = torch.tensor([-0.8712, -0.1220, 0.2051, 0.0932, -0.9875, 0.0845, 0.6182, 0.1052, -0.4561])


def close(a, b, atol=2e-4):
    torch.testing.assert_close(a.double(), torch.as_tensor(b).double(), atol=atol, rtol=0)


def test_the_printed_numbers():
    before = products(X, Y)
    close(before.inner, -1.5089)
    close(before.cross, [0.2214, 0.2189, 0.1851])
    close(before.spherical, SPHERICAL)
    assert before.irreps == "0o+1o+2o"
    close(R @ X.double(), [0.7971, 0.0112, 1.0188])
    close(R @ Y.double(), [-0.5431, 0.1576, -1.0580])
    after = {t.name: t for t in transformed(X, Y, R)}
    close(after["inner"].of_factors, -1.5089)
    close(after["spherical"].of_factors, SPHERICAL_TURNED)
    close(after["outer"].of_product, torch.outer(R @ X.double(), R @ Y.double()), 1e-12)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("irreps", [("1o", "1e"), ("1o", "1o"), ("1e", "1e")])
def test_products_of_transformed_factors_are_transformed_products(irreps, sign):
    for t in transformed(X, Y, sign * R, irreps_x=irreps[0], irreps_y=irreps[1]):
        assert t.error < 1e-12, t.name


def test_a_reflection_turns_the_sign_of_the_inner_product_of_vector_and_pseudovector():
    inner = {t.name: t for t in transformed(X, Y, -R)}["inner"]
    assert inner.irreps == "0o"
    close(inner.of_factors, 1.5089)
    both_polar = {t.name: t for t in transformed(X, Y, -R, irreps_y="1o")}["inner"]
    close(both_polar.of_factors, -1.5089)


def test_the_full_tensor_product_of_e3nn_is_the_same_change_of_basis():
    product = o3.FullTensorProduct("1o", "1e").double()
    assert str(product.irreps_out) == "1x0o+1x1o+1x2o"
    close(product(X.double(), Y.double()), products(X, Y).spherical, 1e-6)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("pair", [("1o", "1e"), ("2e", "3o"), ("1o+2e", "0e+1e"), ("2x1o", "4e")])
def test_the_change_of_basis_makes_blocks(pair, sign):
    basis, irreps = change_of_basis(*pair)
    degrees = [int(term[:-1]) for term in irreps.split("+")]
    assert degrees == sorted(degrees)
    matrix = sign * random_rotation(11)
    close(basis.T @ basis, torch.eye(len(basis)), 1e-10)
    close(basis.T @ representation(*pair, matrix) @ basis, block_diagonal(irreps, matrix), 1e-10)


def test_without_the_change_of_basis_there_are_no_blocks():
    blocks = block_diagonal("0o+1o+2o", R)
    assert float((representation("1o", "1e", R) - blocks).abs().max()) > 0.1
    assert float(blocks[0, 1:].abs().max()) == 0


def test_a_rounded_matrix_is_refused_with_the_remedy():
    with pytest.raises(ZooError, match="nearest_rotation"):
        transformed(X, Y, ROUNDED)
    assert float((R @ R.T - torch.eye(3)).abs().max()) < 1e-14


def test_a_model_keeps_its_symmetry_better_in_float64():
    torch.manual_seed(0)
    targets = {"energy": {"readout": "energy", "unit": "eV"},
               "dipole": {"readout": "dipole", "unit": "D", "options": {"magnitude": False}}}
    model = create("painn", channels=8, num_layers=2, targets=targets, dtype="float64")
    rows = {(r.of, r.dtype): r for r in equivariance(model, ase.build.molecule("CH3CH2OH"), trials=2)}
    assert {of for of, _ in rows} == {"features 0e", "features 1o", "energy", "dipole", "forces"}
    for of in ("features 0e", "features 1o", "dipole", "forces"):
        assert rows[of, "float64"].relative < 1e-10
        assert 1e-10 < rows[of, "float32"].relative < 1e-4


class Leaky(torch.nn.Module):
    """A backbone with a feature that knows where x points."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, graph):
        h = self.inner(graph)
        leak = torch.zeros_like(h[:, 0]).index_add(0, graph.target, graph.edge_vec[:, 0])
        return torch.cat([(h[:, 0] + 1e-3 * leak)[:, None], h[:, 1:]], 1)


def test_a_broken_symmetry_is_seen():
    model = create("schnet", channels=8, num_filters=8, num_layers=1, dtype="float64")
    cutoff = model.backbone.cutoff
    model.backbone = Leaky(model.backbone)
    model.backbone.cutoff = cutoff
    rows = {(r.of, r.dtype): r for r in equivariance(model, ase.build.molecule("CH3CH2OH"), trials=2)}
    assert rows["features 0e", "float64"].proper > 1e-4
