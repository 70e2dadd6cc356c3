"""Readouts: per-atom features to one property per structure, atom or edge.

Every readout ends with the same affine map, *output = basis · coefficients + scale · network*. The network part is
computed in the model's dtype; ``coefficients`` (atomic references, for example) and ``scale`` are float64, are fitted
on training data, and are added last, so that a total energy of −11,000 eV loses nothing in a float32 model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ase.data
import torch
from torch import Tensor, nn

from zoo.errors import PluginError
from zoo.graph.graph import Graph
from zoo.model.output_types import Per
from zoo.nn import MLP, sum_by
from zoo.nn.irreps import FeatureLayout

__all__ = ["Dipole", "Energy", "Intensive", "Polarizability", "Readout", "SpatialExtent", "Vector"]


# Σ‖r‖² of a QM9 molecule is about 100 Å²; without this factor the gradient of ⟨r²⟩ dominates all other targets'.
_TYPICAL = 0.01


# With Glorot weights a sum over atoms (times positions, for a dipole) would start at tens of standard deviations.
_START = 0.1


class AffineConstants(nn.Module):
    """``coefficients`` (K,) and ``scale`` (); they stay float64 when the model is moved to another dtype."""

    coefficients: Tensor
    scale: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("coefficients", torch.zeros(count, dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AffineConstants:
        # Move to the device of the model, but keep float64.
        device = fn(torch.empty(0, device=self.scale.device)).device
        for name, value in self._buffers.items():
            self._buffers[name] = None if value is None else value.to(device)
        return self


class Readout(nn.Module):
    """Base class: a subclass defines the network part and the basis of the fitted linear part.

    What comes out is declared by ``per``, ``shape`` and ``irreps``, of the class or set in ``__init__``. All else
    follows from them: which labels it is trained on, what predictions look like, and how the conformance kit rotates
    them. An output of another shape is a :class:`~zoo.errors.PluginError`.

    Attributes:
        per: what one row of the output belongs to: ``"structure"``, ``"atom"`` or ``"edge"``. Data sets hold no labels
            per edge: a readout per edge predicts, and is not trained on.
        shape: of one row: ``()`` a number, ``(3,)`` a vector, ``(3, 3)`` a Cartesian tensor.
        irreps: how a row transforms, where the shape does not say it: ``"1e"`` for a magnetic moment (3,), ``"0e+2e"``
            for a symmetric tensor (3, 3), ``"3x0e"`` for three invariant numbers. Without a shape, a row is the
            components of the irreps in e3nn's order: ``"2e"`` means five numbers.
        extensive: whether two structures far apart have the sum of their values.

    Args:
        layout: layout of the backbone's features.
        elements: atomic numbers of the model's domain, which index the composition.
        hidden, activation, bias: of the head, an MLP on the ``0e`` channels; ``hidden=[]`` is one linear map.
    """

    extensive: bool = False
    per: Per = "structure"
    shape: tuple[int, ...] = ()
    irreps: str | None = None

    def __init__(
        self,
        layout: FeatureLayout,
        elements: Sequence[int],
        *,
        hidden: Sequence[int] = (64,),
        activation: str = "silu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.constants = AffineConstants(len(self.basis_names(elements)))
        widths = [layout.count(0, 1), *hidden, self.head_width(layout)]
        self.net = MLP(widths, activation=activation, bias=bias)
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(_START)

    def head_width(self, layout: FeatureLayout) -> int:
        """Number of outputs of the head per atom."""
        return 1

    def basis_names(self, elements: Sequence[int]) -> list[str]:
        """Name of each coefficient; chemical symbols if the basis is the composition."""
        return []

    def basis(self, graph: Graph, composition: Tensor) -> Tensor:
        """(rows, *shape, K) float64 features of the linear part, one row per structure, atom or edge.

        ``composition`` (B, n_elements) counts atoms by element.
        """
        return composition[:, :0]

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        """Standardised value (rows, *shape) in the model's dtype, from features ``h`` (N, F)."""
        raise NotImplementedError

    def physical(self, network: Tensor, graph: Graph, composition: Tensor) -> Tensor:
        """Convert a standardised value (rows, …) to physical units, float64."""
        constants = self.constants
        value = network.to(constants.scale) * constants.scale
        if constants.coefficients.numel():
            linear = self.basis(graph, composition).to(constants.scale) @ constants.coefficients
            value = value + linear
        return value

    def standardise(self, value: Tensor, graph: Graph, composition: Tensor) -> Tensor:
        """The inverse of :meth:`physical`, in float64."""
        constants = self.constants
        if constants.coefficients.numel():
            value = value - self.basis(graph, composition).to(constants.scale) @ constants.coefficients
        return value / constants.scale

    def set_constants(self, *, coefficients: Tensor | None = None, scale: float | Tensor | None = None) -> None:
        """Set fitted constants in place."""
        if coefficients is not None:
            self.constants.coefficients.copy_(coefficients)
        if scale is not None:
            self.constants.scale.copy_(torch.as_tensor(scale, dtype=torch.float64))


class Energy(Readout):
    """Any extensive scalar, y = Σ_i y_i(h_i) + Σ_i E0(z_i): energies, zero-point energy, heat capacity."""

    extensive = True

    def basis_names(self, elements: Sequence[int]) -> list[str]:
        return [ase.data.chemical_symbols[z] for z in elements]

    def basis(self, graph: Graph, composition: Tensor) -> Tensor:
        return composition

    def per_atom(self, h: Tensor) -> Tensor:
        """(N,) standardised contribution of each atom."""
        return self.net(self.layout.scalars(h))[:, 0]

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        return sum_by(self.per_atom(h), graph.batch, graph.num_graphs)


class Polarizability(Energy):
    """Isotropic polarizability α = ⅓ tr(α) as a sum over atoms (the α0 term of PaiNN, eq. 14)."""


class Intensive(Readout):
    """A size-independent scalar: the mean of atomic values under a learned weight, y = Σ_i softmax(a)_i y_i.

    For orbital energies, which are local to a part of the molecule; a plain mean would average over all atoms. The
    basis of the fitted linear part is the fraction of each element.
    """

    def head_width(self, layout: FeatureLayout) -> int:
        return 2

    def basis_names(self, elements: Sequence[int]) -> list[str]:
        return [ase.data.chemical_symbols[z] for z in elements]

    def basis(self, graph: Graph, composition: Tensor) -> Tensor:
        return composition / composition.sum(1, keepdim=True).clamp(min=1)

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        value, logit = self.net(self.layout.scalars(h)).unbind(1)
        count = graph.num_graphs
        # Subtract the largest logit of each structure so that exp cannot overflow; it cancels in the ratio.
        peak = logit.new_full((count,), -torch.inf).scatter_reduce(0, graph.batch, logit.detach(), "amax")
        weight = (logit - peak.index_select(0, graph.batch)).exp()
        return sum_by(weight * value, graph.batch, count) / sum_by(weight, graph.batch, count)


class CentredReadout(Readout):
    """Base of readouts that use positions, relative to the centre of mass so that they are translation invariant."""

    masses: Tensor

    def __init__(self, layout: FeatureLayout, elements: Sequence[int], **head: Any) -> None:
        super().__init__(layout, elements, **head)
        masses = torch.from_numpy(ase.data.atomic_masses.copy())
        self.register_buffer("masses", masses.float(), persistent=False)

    def centred(self, graph: Graph, dtype: torch.dtype) -> Tensor:
        """(N, 3) positions relative to the centre of mass of each structure, Å; differentiable."""
        # Computed in the dtype of the positions: float64 positions far from the origin would lose digits in float32.
        mass = self.masses.to(graph.pos.dtype).index_select(0, graph.z)[:, None]
        total = sum_by(mass, graph.batch, graph.num_graphs)
        centre = sum_by(mass * graph.pos, graph.batch, graph.num_graphs) / total
        return (graph.pos - centre.index_select(0, graph.batch)).to(dtype)


class Dipole(CentredReadout):
    """μ = Σ_i q_i (r_i − r_c) + Σ_i μ_i with charges that sum to the total charge (PaiNN, eq. 13; PhysNet, eq. 10).

    The atomic dipoles μ_i are gated ``1o`` features and absent for an invariant backbone. ``magnitude=True`` gives
    ‖μ‖ (QM9's target), otherwise the vector (B, 3).
    """

    def __init__(
        self, layout: FeatureLayout, elements: Sequence[int], *, magnitude: bool = True, **head: Any
    ) -> None:
        super().__init__(layout, elements, **head)
        self.magnitude = magnitude
        self.shape = () if magnitude else (3,)
        self.n_vectors = layout.count(1, -1)

    def head_width(self, layout: FeatureLayout) -> int:
        return 1 + layout.count(1, -1)

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        out = self.net(self.layout.scalars(h))
        count, batch = graph.num_graphs, graph.batch
        n_atoms = graph.ptr.diff().to(out.dtype).clamp(min=1)
        total = 0 if graph.charge is None else graph.charge.to(out.dtype)
        excess = (sum_by(out[:, 0], batch, count) - total) / n_atoms
        charge = out[:, 0] - excess.index_select(0, batch)
        atomic = charge[:, None] * self.centred(graph, out.dtype)
        if self.n_vectors:
            atomic = atomic + torch.einsum("nc,ncd->nd", out[:, 1:], self.layout.vectors(h))
        dipole = sum_by(atomic, batch, count)
        # The norm has no derivative at μ = 0; with this small constant the derivative is zero there.
        return (dipole.square().sum(1) + 1e-12).sqrt() if self.magnitude else dipole


class SpatialExtent(CentredReadout):
    """Electronic spatial extent ⟨r²⟩ = Σ_i (q_i ‖r_i − r_c‖² + s_i); linear part: one q and one s per element."""

    elements: Tensor

    def __init__(self, layout: FeatureLayout, elements: Sequence[int], **head: Any) -> None:
        super().__init__(layout, elements, **head)
        self.register_buffer("elements", torch.tensor(list(elements)), persistent=False)

    def head_width(self, layout: FeatureLayout) -> int:
        return 2

    def basis_names(self, elements: Sequence[int]) -> list[str]:
        symbols = [ase.data.chemical_symbols[z] for z in elements]
        return symbols + [f"{s}*r2" for s in symbols]

    def basis(self, graph: Graph, composition: Tensor) -> Tensor:
        squared = self.centred(graph, torch.float64).square().sum(1, keepdim=True)
        one_hot = graph.z[:, None] == self.elements
        return torch.cat([composition, sum_by(one_hot * squared, graph.batch, graph.num_graphs)], 1)

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        charge, own = self.net(self.layout.scalars(h)).unbind(1)
        squared = self.centred(graph, charge.dtype).square().sum(1)
        return sum_by(charge * (_TYPICAL * squared) + own, graph.batch, graph.num_graphs)


class Vector(Readout):
    """An extensive vector (B, 3): the sum of gated ``1o`` features.

    Raises:
        PluginError: the backbone offers no ``1o`` features.
    """

    extensive = True
    shape = (3,)

    def __init__(self, layout: FeatureLayout, elements: Sequence[int], **head: Any) -> None:
        if not layout.count(1, -1):
            raise PluginError(f"a vector target needs 1o features, and the backbone offers {layout.irreps}. "
                              "Fix: choose an equivariant backbone.")
        super().__init__(layout, elements, **head)

    def head_width(self, layout: FeatureLayout) -> int:
        return layout.count(1, -1)

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        atomic = torch.einsum("nc,ncd->nd", self.net(self.layout.scalars(h)), self.layout.vectors(h))
        return sum_by(atomic, graph.batch, graph.num_graphs)
