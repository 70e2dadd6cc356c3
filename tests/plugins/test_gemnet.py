"""GemNet: agreement with fairchem-core's GemNet-T and with the paper's equations in loops; torsions; singularities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gemnet_numpy import GemNetQ
from peer_reference import load
from torch import Tensor
from zoo_plugins.gemnet import zoo_architectures
from zoo_plugins.gemnet.geometry import COLLINEAR, _inverse_sine
from zoo_plugins.gemnet.layers import Scale
from zoo_plugins.gemnet.model import GemNet

from zoo.foreign import fairchem
from zoo.graph.graph import Graph
from zoo.graph.index_lists import quadruplets
from zoo.graph.neighbors import add_edges, edge_vectors

TINY = {
    "num_spherical": 3, "num_radial": 3, "blocks": 1, "emb_atom": 6, "emb_edge": 7, "emb_trip": 5, "emb_quad": 4,
    "emb_rbf": 3, "emb_cbf": 3, "emb_sbf": 4, "bil_trip": 5, "bil_quad": 3, "atom": 1, "cutoff": 3.0,
    "cutoff_interaction": 3.0, "envelope_exponent": 5, "num_elements": 10,
}  # fmt: skip
# No torsion here is anywhere near undefined.
CHAIN = [[0, 0, 0], [1.1, 1.1, 0.2], [2.0, 0.8, 1.2], [0.7, -0.9, -1.0], [1.6, 0.2, -1.0], [1.3, -0.8, 0.0]]
ELEMENTS = [6, 8, 7, 1, 6, 1]
CRYSTAL = [[0, 0, 0], [0.5, 1.1, 1.1]]
CELL = [[2.7, -0.2, -0.4], [0.1, 2.5, -0.3], [-0.9, 0.0, 2.5]]


def tiny(**changes) -> GemNet:
    """Random weights and scaling factors; with factors of one torsions would hardly be felt."""
    torch.manual_seed(3)
    model = GemNet(**(TINY | changes)).double()
    for module in model.modules():
        if isinstance(module, Scale):
            module.factor.copy_(2 + torch.rand(()))
    # Float64 constants, not float32 ones widened.
    torch.set_default_dtype(torch.float64)
    try:
        exact = GemNet(**(TINY | changes))
    finally:
        torch.set_default_dtype(torch.float32)
    exact.load_state_dict(model.state_dict())
    return exact


def graph_of(model: GemNet, pos: Tensor, z: list[int] | None = None, cell: list | None = None) -> Graph:
    periodic = {} if cell is None else {"cell": torch.tensor([cell], dtype=pos.dtype),
                                        "pbc": torch.ones(1, 3, dtype=torch.bool)}
    graph = Graph.from_tensors(torch.tensor(z or [6] * len(pos)), pos.detach(), **periodic)
    return vectors(add_edges(graph, model.cutoff), pos)


def vectors(graph: Graph, pos: Tensor) -> Graph:
    vec = edge_vectors(graph, pos, graph.cell)
    return graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1))


def features(model: GemNet, pos: Tensor, z: list[int] | None = None) -> Tensor:
    return model(graph_of(model, pos, z))


def positions(rows: list) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# -- agreement ---------------------------------------------------------------------------------------------------


def make_like_fairchem(config: dict) -> GemNet:
    return GemNet(
        num_spherical=config["num_spherical"], num_radial=config["num_radial"], blocks=config["num_blocks"],
        emb_atom=config["emb_size_atom"], emb_edge=config["emb_size_edge"], emb_trip=config["emb_size_trip"],
        emb_rbf=config["emb_size_rbf"], emb_cbf=config["emb_size_cbf"], bil_trip=config["emb_size_bil_trip"],
        before_skip=config["num_before_skip"], after_skip=config["num_after_skip"], concat=config["num_concat"],
        atom=config["num_atom"], cutoff=config["cutoff"], envelope_exponent=config["envelope"]["exponent"],
        num_elements=config["num_elements"], quadruplets=False, angular_radial="bessel",
    )  # fmt: skip


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=str)
def test_the_triplet_model_agrees_with_fairchem_on_its_weights(dtype, tolerance):
    reference = load("gemnet")
    torch.set_default_dtype(dtype)
    try:
        model = make_like_fairchem(reference.about["config"])
    finally:
        torch.set_default_dtype(torch.float32)
    weights = reference.imported(fairchem.gemnet, cutoff=model.cutoff)
    model.load_state_dict(weights.backbone)
    pos = reference.inputs["pos"].to(dtype).requires_grad_()
    graph = reference.graph(dtype, pos=pos)
    per_atom = model(graph) @ weights.head[0][0].to(dtype).T
    energy = torch.zeros(graph.num_graphs, dtype=dtype).index_add(0, graph.batch, per_atom[:, 0])
    (gradient,) = torch.autograd.grad(energy.sum(), pos)
    expected = reference.outputs[str(dtype).removeprefix("torch.")]
    for name, value in (("energy", energy), ("forces", -gradient)):
        atol = tolerance * float(expected[name].abs().max())
        torch.testing.assert_close(value, expected[name], rtol=0, atol=atol)


def test_the_paper_presets_have_the_published_number_of_parameters():
    published = load("gemnet").about["paper_parameters"]["parameters"]
    presets = zoo_architectures()[0].presets
    head = (presets["paper-t"]["blocks"] + 1) * presets["paper-t"]["emb_atom"]
    like_fairchem = GemNet(**(presets["paper-t"] | {"angular_radial": "bessel"}))
    assert sum(p.numel() for p in like_fairchem.parameters()) + head == published == 1_892_300
    # The paper's table gives 2.2 million for GemNet-Q.
    assert round((sum(p.numel() for p in GemNet(**presets["paper"]).parameters()) + head) / 1e6, 1) == 2.2


REACHES = {
    "all edges": {"cutoff_triplets": 3.0, "cutoff_quadruplets": 3.0},
    "short ends": {"cutoff_triplets": 2.6, "cutoff_quadruplets": 2.2, "cutoff_interaction": 2.8},
    "short axes": {"cutoff_triplets": 2.6, "cutoff_quadruplets": 2.6, "cutoff_interaction": 1.7},
    "axes beyond the messages": {"cutoff": 2.5, "cutoff_triplets": 2.5, "cutoff_quadruplets": 2.2},
}


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("cell", [None, CELL], ids=["molecule", "crystal"])
def test_the_quadruplet_model_is_the_papers_equations(reach, cell):
    config = TINY | REACHES[reach]
    pos = positions(CHAIN)
    if cell is not None:
        # An atom and its images are on lines, where the paper's equations are undefined: stay below those.
        config = config | {"cutoff_quadruplets": min(config["cutoff_quadruplets"], 2.4),
                           "cutoff_interaction": min(config["cutoff_interaction"], 2.8)}
        pos = positions(CRYSTAL)
    model, num = tiny(**config), len(pos)
    graph = graph_of(model, pos, ELEMENTS[:num], cell)
    q = quadruplets(graph, cutoff=config["cutoff_quadruplets"], cutoff_interaction=config["cutoff_interaction"])
    assert len(q.edge_ca) > 0
    unit = graph.edge_vec / graph.edge_len[:, None]
    assert float((unit[q.edge_ba] * unit[q.edge_db]).sum(1).square().max()) < 1 - COLLINEAR
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    equations = GemNetQ(state, config)
    expected = equations(np.array(ELEMENTS[:num]), pos.numpy(), None if cell is None else np.array(cell))
    with torch.no_grad():
        np.testing.assert_allclose(model(graph).numpy(), expected, rtol=0, atol=1e-12)
    assert np.abs(expected).max() > 0.1


# -- torsions ----------------------------------------------------------------------------------------------------


def twisted(angle: float) -> Tensor:
    """A chain of four bonds apart, turned about its middle: distances up to 2.2 Å and bond angles stay the same."""
    a = np.radians(angle)
    return positions([[-0.5, 1.3, 0], [0, 0, 0], [1.5, 0, 0], [2.0, 1.3 * np.cos(a), 1.3 * np.sin(a)]])


def test_torsions_are_seen_by_quadruplets_only():
    reach = {"cutoff": 2.2, "cutoff_interaction": 2.2}
    seeing, blind = tiny(**reach), tiny(**reach, quadruplets=False)
    shapes = twisted(70.0), twisted(110.0)
    apart = [float((features(m, shapes[0]) - features(m, shapes[1])).detach().abs().max()) for m in (seeing, blind)]
    assert apart[0] > 2e-5
    assert apart[1] < 1e-13


def test_mirror_images_look_alike():
    model = tiny()
    torch.testing.assert_close(features(model, twisted(70.0)), features(model, twisted(-70.0)), rtol=0, atol=1e-13)


def test_taking_the_quadruplets_away_changes_the_output():
    model, pos = tiny(), positions(CHAIN)
    before = features(model, pos)
    with torch.no_grad():
        for name in ("up", "up_reverse"):
            getattr(model.interactions[0].quadruplets, name).weight.zero_()
    assert float((features(model, pos) - before).detach().abs().max()) > 5e-4


def test_the_choice_of_frame_around_an_axis_does_not_matter():
    """Axes along z, −z and in the plane z = 0 are the borders between the frames' two branches."""
    model, pos = tiny(), positions(CHAIN)
    flat = pos * positions([[1.0, 1.0, 0.0]]) + positions([[0, 0, 0]] * 5 + [[0, 0, 1.1]])
    upright = positions([[0, 0, 0], [0, 0, 1.2], [0.9, 0, -0.3], [0.2, 0.9, 1.6], [-0.8, 0.4, 2.2]])
    for shape in (pos, flat, upright):
        expected = features(model, shape)
        for seed in range(4):
            generator = torch.Generator().manual_seed(seed)
            R, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
            torch.testing.assert_close(features(model, shape @ R.T), expected, rtol=0, atol=1e-11)
        for order in ([2, 0, 1], [1, 2, 0]):
            torch.testing.assert_close(features(model, shape[:, order]), expected, rtol=0, atol=1e-11)


# -- singular angles and borders ---------------------------------------------------------------------------------


SINGULAR = {
    "all on a line": [[0, 0, 0], [1.1, 0, 0], [2.2, 0, 0], [3.3, 0, 0]],
    "folded back": [[0, 0, 0], [1.5, 0, 0], [0.8, 0, 0], [1.5, 1.0, 0]],
    "end on the axis": [[0, 1.1, 0], [0, 0, 0], [1.2, 0, 0], [2.3, 0, 0], [2.5, 0.9, 0.5]],
    "cis": [[-0.5, 1.1, 0], [0, 0, 0], [1.3, 0, 0], [1.8, 1.2, 0]],
    "trans": [[-0.5, 1.1, 0], [0, 0, 0], [1.3, 0, 0], [1.8, -1.2, 0]],
    "a square": [[0, 0, 0], [1.3, 0, 0], [1.3, 1.3, 0], [0, 1.3, 0]],
}


@pytest.mark.parametrize("shape", SINGULAR)
def test_singular_angles_have_first_and_second_derivatives(shape):
    """Central differences of the gradient, across the singular point, agree with the second derivative there."""
    model, pos = tiny(), positions(SINGULAR[shape])
    step = torch.randn(pos.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weight = torch.linspace(-1, 1, 12, dtype=torch.float64)

    def gradient(x: Tensor) -> Tensor:
        return torch.autograd.grad((features(model, x) @ weight).sum(), x, create_graph=True)[0]

    x = pos.clone().requires_grad_()
    first = gradient(x)
    (second,) = torch.autograd.grad((first * step).sum(), x)
    assert bool(first.isfinite().all() & second.isfinite().all())
    h = 1e-5
    numeric = (gradient((pos + h * step).requires_grad_()) - gradient((pos - h * step).requires_grad_())) / (2 * h)
    torch.testing.assert_close(second, numeric.detach(), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        energies = [float((features(model, pos + s * h * step) @ weight).sum()) for s in (1, -1)]
        slope = float((first * step).sum())
    assert slope == pytest.approx((energies[0] - energies[1]) / (2 * h), rel=1e-5, abs=1e-6)


def test_torsions_fade_out_smoothly_where_they_are_undefined():
    """The factor 1/sin has three continuous derivatives at the border, and its product with sin tends to 0."""
    t = torch.tensor([COLLINEAR * (1 - 1e-9), COLLINEAR * (1 + 1e-9)], dtype=torch.float64, requires_grad=True)
    value = _inverse_sine(t)
    for _ in range(4):
        assert value[0].item() == pytest.approx(value[1].item(), rel=1e-6)
        (value,) = torch.autograd.grad(value.sum(), t, create_graph=True)
    square = torch.linspace(0, 1, 1001, dtype=torch.float64)
    radius = square.sqrt() * _inverse_sine(square)
    assert float(radius[0]) == 0.0
    assert float(radius.max()) <= 1 + 1e-12
    assert bool((radius.diff() > -1e-12).all())
    torch.testing.assert_close(radius[31:], torch.ones(970, dtype=torch.float64))


def test_forces_can_be_trained_on():
    model = tiny(cutoff_quadruplets=2.4, cutoff_triplets=2.6)
    pos = positions(CHAIN[:4])
    name = "quadruplet_basis.circular"
    weight = dict(model.named_parameters())[name].detach()
    graph = graph_of(model, pos, ELEMENTS[:4])

    def energy(pos: Tensor, w: Tensor) -> Tensor:
        return torch.func.functional_call(model, {name: w}, (vectors(graph, pos),)).square().sum()

    arguments = (pos.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(energy, arguments, atol=1e-6)
    assert torch.autograd.gradgradcheck(energy, arguments, atol=1e-5, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("limit", ["cutoff_triplets", "cutoff_quadruplets", "cutoff_interaction"])
def test_an_edge_leaves_triplets_and_quadruplets_smoothly(limit):
    reaches = {"cutoff": 4.0, "cutoff_triplets": 3.0, "cutoff_quadruplets": 3.0, "cutoff_interaction": 3.0}
    model = tiny(**(reaches | {limit: 2.0}))

    def derivatives(distance: float) -> Tensor:
        shape = [[0.0, 0, 0], [distance, 0, 0], [0.3, 1.2, 0.2], [1.6, -0.2, 1.1], [-0.6, 0.2, -1.0]]
        x = positions(shape).requires_grad_()
        (first,) = torch.autograd.grad(features(model, x).square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first[1, 0], x)
        return torch.cat([first.flatten(), second.flatten()]).detach()

    gap = (derivatives(2.0 - 1e-6) - derivatives(2.0 + 1e-6)).abs().max()
    assert float(gap) < 1e-3
    assert float((derivatives(2.0) - derivatives(1.9)).abs().max()) > 20 * float(gap)


def test_no_edges_no_triplets_no_quadruplets():
    model = tiny(cutoff_interaction=1.5)
    shapes = {
        "atom": [[0.0, 0, 0]],
        "pair": [[0.0, 0, 0], [1.0, 0, 0]],
        "far pair": [[0.0, 0, 0], [2.0, 0, 0]],
        "triangle": [[0.0, 0, 0], [1.0, 0, 0], [0.5, 0.9, 0]],
    }
    for shape in shapes.values():
        x = positions(shape).requires_grad_()
        out = features(model, x)
        assert out.shape == (len(shape), 12)
        (gradient,) = torch.autograd.grad(out.square().sum(), x, materialize_grads=True)
        assert bool(out.isfinite().all() & gradient.isfinite().all())


def test_an_isolated_atom_in_a_batch_changes_nothing():
    model = tiny()
    pos = positions(CHAIN)
    both = torch.cat([pos, positions([[0.0, 0, 0]])])
    graph = Graph.from_tensors(torch.tensor([*ELEMENTS, 8]), both, n_atoms=torch.tensor([6, 1]))
    together = model(vectors(add_edges(graph, model.cutoff), both))
    torch.testing.assert_close(together[:6], features(model, pos, ELEMENTS), rtol=0, atol=1e-13)
    torch.testing.assert_close(together[6:], features(model, positions([[5.0, 5, 5]]), [8]), rtol=0, atol=1e-13)


# -- scaling factors ---------------------------------------------------------------------------------------------


def test_scaling_factors_are_fitted_in_the_order_of_the_forward_pass():
    model = tiny(blocks=2)
    generator = torch.Generator().manual_seed(0)
    pos = positions(CHAIN).repeat(8, 1) + 0.1 * torch.randn(48, 3, dtype=torch.float64, generator=generator)
    graph = Graph.from_tensors(torch.tensor(ELEMENTS * 8), pos, n_atoms=torch.full((8,), 6))
    graph = vectors(add_edges(graph, model.cutoff), pos)
    seen = {}
    model.fit_constants(graph)
    once = {k: v.clone() for k, v in model.state_dict().items() if k.endswith("factor")}
    assert len(once) == 2 * 6 + 3
    assert all(float(v) != 1.0 for v in once.values())

    def watch(name):
        def hook(module, inputs, output):
            reference = inputs[1]
            seen[name] = (output.var(dim=0).mean() / reference.var(dim=0).mean()).item()

        return hook

    # The circular factor multiplies the sums instead of the pairs, so the hook does not see it.
    handles = [m.register_forward_hook(watch(n)) for n, m in model.named_modules() if isinstance(m, Scale)]
    model(graph)
    for handle in handles:
        handle.remove()
    assert len(seen) == 2 * 5 + 3
    assert all(ratio == pytest.approx(1.0, rel=1e-9) for ratio in seen.values())
    model.fit_constants(graph)
    for name, value in once.items():
        torch.testing.assert_close(model.state_dict()[name], value)


def test_factors_stay_one_where_there_is_nothing_to_fit():
    model = GemNet(**TINY)
    atom = Graph.from_tensors(torch.tensor([6]), torch.zeros(1, 3))
    model.fit_constants(vectors(add_edges(atom, model.cutoff), atom.pos))
    assert all(float(v) == 1.0 for k, v in model.state_dict().items() if k.endswith("factor"))
