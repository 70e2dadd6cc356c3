"""Every fused operation against its plain twin: values and derivatives of two orders, in float64."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import ase.build
import pytest
import torch
from geometry import graph_of, random
from torch import Tensor
from torch.nn import functional as F
from zoo_plugins.nequip.convolution import Convolution
from zoo_plugins.nequip.irreps import Irrep
from zoo_plugins.nequip.neighbors import Neighbors, arrange
from zoo_plugins.painn import messages

from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges
from zoo.graph.tracing import traced
from zoo.nn import (
    Filtered,
    FilteredSum,
    FusedOperation,
    OuterSum,
    RadialTable,
    Recomputed,
    RowSum,
    TableSum,
    Use,
    force,
    pairs,
)
from zoo.nn.fused import thresholds, torch_kernels
from zoo.nn.fused.blockwise import Blockwise
from zoo.nn.fused.silu import FusedSiLU
from zoo.nn.fused.softplus import FusedShiftedSoftplus

C = 3


@pytest.fixture(autouse=True)
def double(monkeypatch):
    """Blocks that cut through the few edges of these graphs."""
    torch.set_default_dtype(torch.float64)
    monkeypatch.setattr(thresholds, "BLOCK_BYTES", 100)
    monkeypatch.setattr(messages, "_BLOCK_BYTES", 8 * C * 30)
    monkeypatch.setitem(sys.modules["zoo_plugins.nequip.neighbors"]._BLOCK_FLOATS, "cpu", 24)
    yield
    torch.set_default_dtype(torch.float32)


def molecule() -> Graph:
    """Seven atoms, and one without neighbours."""
    return graph_of(torch.cat([random(7, 3, seed=5), torch.full((1, 3), 50.0)]), 2.0)


def directed() -> Graph:
    graph = molecule()
    return with_vectors(graph.with_edges(graph.edge_index[:, 1:]))


def repeated() -> Graph:
    """A caller's edges with two of them listed twice."""
    graph = molecule()
    return with_vectors(graph.with_edges(torch.cat([graph.edge_index, graph.edge_index[:, :2]], 1)))


def crystal() -> Graph:
    """One atom whose neighbours are all images of itself: source and target agree, shifts tell edges apart."""
    graph = add_edges(Graph.from_atoms(ase.build.bulk("Cu"), dtype=torch.float64), 4.0)
    vec = graph.edge_shift @ graph.cell[0]
    return graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1))


def no_edges() -> Graph:
    return graph_of(random(3, 3, seed=5) * 100, 2.0)


def with_vectors(graph: Graph) -> Graph:
    vec = graph.pos[graph.source] - graph.pos[graph.target]
    return graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1))


GRAPHS = [molecule, directed, repeated, crystal, no_edges]


# -- the operations, each with arguments for a graph ---------------------------------------------------------------


def silu(graph: Graph, scale: float) -> tuple[FusedOperation, list[Any]]:
    return FusedSiLU(), [random(graph.num_edges, C), scale]


def filtered_sum(graph: Graph, *components: int) -> tuple[FusedOperation, list[Any]]:
    p = pairs(graph)
    return FilteredSum(p), [random(len(p.edges), C, seed=1), random(graph.num_nodes, *components, C, seed=2)]


def filtered(graph: Graph) -> tuple[FusedOperation, list[Any]]:
    p = pairs(graph)
    return Filtered(p), [random(len(p.edges), C, seed=1), random(graph.num_nodes, C, seed=2)]


def outer_sum(graph: Graph, **options: bool) -> tuple[FusedOperation, list[Any]]:
    target = graph.target if options["is_sorted"] else graph.source
    form = OuterSum(target, graph.num_nodes, 3, **options)
    return form, [random(graph.num_edges, 3, seed=1), random(graph.num_edges, C, seed=2)]


def row_sum(graph: Graph, overlapping: bool) -> tuple[FusedOperation, list[Any]]:
    N = graph.num_nodes
    form = RowSum(graph.source, N, 3, is_sorted=False, overlapping=overlapping)
    table = random(N + 2, C, seed=1) if overlapping else random(N, 3, C, seed=1)
    return form, [table, random(graph.num_edges, 3, seed=2)]


def table_sum(graph: Graph) -> tuple[FusedOperation, list[Any]]:
    p, table = pairs(graph), RadialTable(12, 6.0)
    lookup = table(graph.edge_len[p.first], torch.ones(len(p.edges)))
    coefficients = lookup.coefficients(random(table.num_nodes, C, seed=1))
    return TableSum(p, lookup, coefficients), [lookup.weights.detach(), random(graph.num_nodes, C, seed=2)]


def message_sums(graph: Graph, with_vectors: bool) -> tuple[FusedOperation, list[Any]]:
    edges, N = messages.Edges(graph), graph.num_nodes
    u = random(N, 3, C, seed=5) if with_vectors else None
    form = messages.MessageSums(edges, random(3 * C, 4, seed=1))
    arguments = [random(len(edges.pairs.edges), 4, seed=2), edges.direction.detach(), random(N, C, seed=3)]
    return form, [*arguments, random(N, C, seed=4), u]


class ConvolutionOfTensors(FusedOperation):
    """NequIP's convolution with its harmonics, weights and features as arguments, on slots of equal width."""

    use = Use()

    def __init__(self, graph: Graph) -> None:
        self.irreps = {Irrep(0, 1): 2, Irrep(1, -1): 2, Irrep(1, 1): 1}
        self.convolution = Convolution(self.irreps, {Irrep(0, 1): 3, Irrep(1, -1): 2}, 1)
        order, self.atom, self.edge, self.blocks = arrange(graph.edge_ptr.diff(), graph.edge_ptr[:-1], 1)
        self.source = F.pad(order.argsort()[graph.source], (0, 1))[self.edge]
        self.pair = F.pad(torch.arange(graph.num_edges) // 2, (0, 1))[self.edge]

    def numbers(self, *x: Tensor) -> int:
        return 1

    def neighbors(self, harmonics: Tensor) -> Neighbors:
        harmonics = F.pad(harmonics, (0, 0, 0, 1))[self.edge]
        return Neighbors(self.source, self.atom, self.pair, torch.empty(0), harmonics, self.blocks)

    def plain(self, harmonics: Tensor, weights: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        return self.run(self.convolution.plain, harmonics, weights, *features)

    def fused(self, harmonics: Tensor, weights: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        return self.run(self.convolution.fused, harmonics, weights, *features)

    def run(self, form: Callable, harmonics: Tensor, weights: Tensor, *features: Tensor) -> tuple[Tensor, ...]:
        return tuple(form(dict(zip(self.irreps, features)), weights, self.neighbors(harmonics)).values())


def convolution(graph: Graph) -> tuple[FusedOperation, list[Any]]:
    form, E = ConvolutionOfTensors(graph), graph.num_edges
    features = [random(graph.num_nodes, k.dim, mul, seed=3 + k.l) for k, mul in form.irreps.items()]
    return form, [random(E, 4, seed=1), random(E // 2 + 1, form.convolution.num_weights, seed=2), *features]


OPERATIONS: dict[str, Callable[[Graph], tuple[FusedOperation, list[Any]]]] = {
    "silu": lambda g: silu(g, 1),
    "silu, scaled": lambda g: silu(g, 1 / 0.6),
    "shifted softplus": lambda g: (FusedShiftedSoftplus(), [random(g.num_edges, C)]),
    "filtered": filtered,
    "filtered sum": filtered_sum,
    "filtered sum of vectors": lambda g: filtered_sum(g, 3),
    "outer sum": lambda g: outer_sum(g, is_sorted=True),
    "outer sum, any order": lambda g: outer_sum(g, is_sorted=False),
    "outer sum, overlapping": lambda g: outer_sum(g, is_sorted=False, overlapping=True),
    "row sum": lambda g: row_sum(g, False),
    "row sum, overlapping": lambda g: row_sum(g, True),
    "table sum": table_sum,
    "painn, first layer": lambda g: message_sums(g, False),
    "painn": lambda g: message_sums(g, True),
    "nequip": convolution,
}


def derivatives(form: str, operation: FusedOperation, arguments: list[Any]) -> list[Tensor]:
    """Value, first derivatives without and with a graph of their own, second derivatives."""
    x = [a.clone().requires_grad_() if isinstance(a, Tensor) else a for a in arguments]
    inputs = [a for a in x if isinstance(a, Tensor)]
    with force(form, type(operation)):
        assert operation.uses_fused(*x) == (form == "fused")
        out = operation(*x)
        out = out if isinstance(out, tuple) else (out,)
        cotangents = [random(*a.shape, seed=7 + k).requires_grad_() for k, a in enumerate(out)]
        options = {"allow_unused": True, "materialize_grads": True}
        first = torch.autograd.grad(out, inputs, cotangents, retain_graph=True, **options)
        again = torch.autograd.grad(out, inputs, cotangents, create_graph=True, **options)
        mixed = sum((g * random(*g.shape, seed=20 + k)).sum() for k, g in enumerate(again))
        second = torch.autograd.grad(mixed, [*inputs, *cotangents], **options) if mixed.requires_grad else ()
    return [a.detach() for a in (*out, *first, *again, *second)]


@pytest.mark.parametrize("make", GRAPHS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_fused_form_is_the_plain_one_at_every_order(name, make):
    operation, arguments = OPERATIONS[name](make())
    found = [derivatives(form, operation, arguments) for form in ("fused", "plain")]
    assert len(found[0]) == len(found[1])
    for fused, plain in zip(*found):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_plain_form_has_the_derivatives_of_finite_differences(name):
    operation, arguments = OPERATIONS[name](graph_of(random(4, 3, seed=5), 2.0))
    x = [a.clone().requires_grad_() if isinstance(a, Tensor) else a for a in arguments]
    assert torch.autograd.gradcheck(operation.plain, x)
    assert torch.autograd.gradgradcheck(operation.plain, x)


@pytest.mark.parametrize("rows", [0, 1, 1000, 5000])
def test_blockwise_gives_the_result_of_one_call_in_small_blocks(rows):
    x, y = random(rows, 64), random(rows, 3, 8, seed=1)
    calls = []

    def function(a: Tensor, b: Tensor) -> Tensor:
        calls.append(len(a))
        return a[:, :8] * b.sum(1)

    operation = Blockwise(function, 64)
    with torch.no_grad(), force("fused", Blockwise):
        torch.testing.assert_close(operation(x, y), operation.plain(x, y))
    assert max(calls[:-1]) <= 512 * torch.get_num_threads() and sum(calls) == 2 * rows
    calls.clear()
    operation(x.requires_grad_(), y)  # all is kept for the gradient: no blocks
    assert calls == [rows]


# -- which form runs -----------------------------------------------------------------------------------------------


class Product(Recomputed):
    """x_0 · x_1 · x_1, and a record of the gradients wanted."""

    def __init__(self, *weights: Tensor) -> None:
        self.wanted: list[tuple[bool, ...]] = []
        self.constants = weights

    def weights(self):
        return self.constants

    def numbers(self, a, b):
        return 10**6 * a.numel()

    def value(self, a, b):
        return a * b * b

    def gradients(self, wanted, grad, a, b):
        self.wanted.append(wanted)
        return grad * b * b, 2 * grad * a * b

    def plain(self, a, b):
        return self.value(a, b)


def test_an_argument_that_is_made_from_another_is_differentiated_once():
    """b = a²: f = a·b² = a⁵, to the third order."""
    a = random(5).abs().requires_grad_()
    f = Product()(a, a * a)
    for order, factor in enumerate((5, 20, 60)):
        (f,) = torch.autograd.grad(f.sum(), a, create_graph=True)
        torch.testing.assert_close(f, factor * a ** (4 - order))


def test_only_the_gradients_that_are_used_are_computed():
    function, a, b = Product(), random(5).requires_grad_(), random(5, seed=1).requires_grad_()
    (by_a,) = torch.autograd.grad(function(a, b).sum(), a)
    torch.testing.assert_close(by_a, b.detach() ** 2)
    assert function.wanted == [(True, False)]


def test_the_fused_form_is_for_many_numbers_of_one_dtype_and_constant_weights():
    a, weight = torch.zeros(5), torch.zeros(2)
    assert Product(weight).uses_fused(a, a)
    assert not Product(weight).uses_fused(a[:4], a[:4])
    assert not Product(weight.clone().requires_grad_()).uses_fused(a, a)
    assert not Product().uses_fused(a, a.float())
    with traced():
        assert not Product(weight).uses_fused(a, a)


def test_fallbacks_of_torchs_own_kernels_give_the_same():
    table, m, x = random(7, C), random(5, C, seed=1), random(5, C, seed=2)
    rows = torch.tensor([[0, 1], [6, 6], [2, 0], [3, 4], [5, 1]])
    products = torch_kernels.row_products_fallback(table, m, rows)
    torch.testing.assert_close(torch_kernels.row_products(table, m, rows), products)
    torch.testing.assert_close(torch_kernels.silu_slope(m, x), torch_kernels.silu_slope_fallback(m, x))


def test_sizes_are_not_looked_at_while_a_graph_is_recorded():
    class Unknown(FusedSiLU):
        def numbers(self, x, scale):
            raise AssertionError("a symbol was compared with a threshold")

    with traced():
        assert not Unknown().uses_fused(torch.ones(2), 1.0)
