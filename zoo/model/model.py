"""Model: neighbour list → backbone → readouts → forces and stress. One class for every architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from zoo.errors import PluginError, StructureError, UnknownNameError, ZooError
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges, edge_vectors
from zoo.graph.tracing import is_traced
from zoo.model.feature_hook import FeatureHook
from zoo.model.output_types import output_type
from zoo.model.priors import Prior
from zoo.model.readouts import Energy, Readout
from zoo.nn import sum_by
from zoo.nn.irreps import FeatureLayout
from zoo.units import dimension, factor

if TYPE_CHECKING:
    from zoo.cards.card import Card

__all__ = ["DERIVATIVES", "Model"]

DERIVATIVES = ("forces", "stress")
MAX_Z = 118


class Model(nn.Module):
    """A backbone, its readouts and the constants that turn their output into physical quantities.

    Args:
        backbone: turns a :class:`~zoo.graph.graph.Graph` into features (N, dim(irreps_out)).
        readouts: one per target (property to predict), in the order of the card.
        units: unit of each target.
        elements: atomic numbers that the model knows.
        priors: fixed energy terms, such as ZBL repulsion, added to the energy that forces are derived from; the network
            learns the rest.
        card: the description (``card.yaml``) that the model was made from.

    Raises:
        PluginError: the backbone lacks ``cutoff`` or ``irreps_out``, a readout declares an output that cannot be, or
            there are priors and no energy.
    """

    readouts: Mapping[str, Readout]
    priors: Mapping[str, Prior]
    element_index: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        readouts: Mapping[str, Readout],
        *,
        units: Mapping[str, str],
        elements: Sequence[int],
        priors: Mapping[str, Prior] | None = None,
        card: Card | None = None,
    ) -> None:
        super().__init__()
        for attribute in ("cutoff", "irreps_out"):
            if not hasattr(backbone, attribute):
                raise PluginError(f"{type(backbone).__name__} has no attribute '{attribute}', which every backbone "
                                  f"needs. Fix: set self.{attribute} in its __init__.")
        self.backbone = backbone
        irreps: Any = backbone.irreps_out
        self.layout = FeatureLayout(irreps)
        # A ModuleDict has a mapping's methods but not its type; declared as a Mapping, the checker knows its values.
        self.readouts = cast(Mapping[str, Readout], nn.ModuleDict(readouts))
        self.priors = cast(Mapping[str, Prior], nn.ModuleDict(priors or {}))
        self.output_types = {name: output_type(name, readout) for name, readout in self.readouts.items()}
        self.units = dict(units)
        self.elements = tuple(elements)
        self.card = card
        lookup = torch.full((MAX_Z + 1,), -1)
        lookup[list(elements)] = torch.arange(len(elements))
        self.register_buffer("element_index", lookup, persistent=False)
        if self.priors and self.energy_target is None:
            raise PluginError(f"priors {', '.join(self.priors)} are energies, and no target is: {', '.join(readouts)}. "
                              "Fix: add an energy to the targets, or remove the priors.")

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return self.element_index.device

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.parameters())

    @property
    def cutoff(self) -> float:
        """Cut-off radius of the backbone, Å."""
        cutoff: Any = self.backbone.cutoff
        return float(cutoff)

    def _repr_html_(self) -> str:
        from zoo.cards.card_html import card_html
        from zoo.files.html import html_table

        here = [("loaded", f"{self.num_parameters:,} parameters, {self.dtype} on {self.device}")]
        if self.card is not None:
            return card_html(self.card, here)
        return html_table(["predicts", "unit"], list(self.units.items()), title="model without a card", note=here[0][1])

    @property
    def required_card(self) -> Card:
        """The card.

        Raises:
            ZooError: the model was made without a card.
        """
        if self.card is None:
            raise ZooError("this model has no card. Fix: make it with zoo.create or zoo.load.")
        return self.card

    @cached_property
    def energy_target(self) -> str | None:
        """The target whose derivatives are forces and stress: ``energy``, otherwise the first energy in the card."""
        an_energy = dimension("eV")
        energies = [n for n, r in self.readouts.items() if type(r) is Energy and dimension(self.units[n]) == an_energy]
        return "energy" if "energy" in energies else next(iter(energies), None)

    @property
    def required_energy(self) -> str:
        """:attr:`energy_target`, or an error if the model has none.

        Raises:
            UnknownNameError: no target is an energy.
        """
        if self.energy_target is None:
            raise UnknownNameError(f"no energy to derive: the targets are {', '.join(self.readouts)}. "
                                   "Fix: choose a model with an energy target.")
        return self.energy_target

    @property
    def scale_in_ev(self) -> Tensor:
        """() float64: eV per unit of the standardised energy; raises as :attr:`required_energy`."""
        name = self.required_energy
        return self.readouts[name].constants.scale * factor(self.units[name], "eV")

    # -- forward -----------------------------------------------------------------------------------------------

    def forward(
        self, graph: Graph, derivatives: Sequence[str] = (), *, standardised: bool = False, partial_stress: bool = False
    ) -> dict[str, Tensor]:
        """Predict every target of the card, and derivatives of the energy.

        Args:
            graph: a batch of B structures; its neighbour list is computed if it has none.
            derivatives: any of ``"forces"`` and ``"stress"``.
            standardised: return the outputs of the network, before scale and atomic reference energies are applied;
                losses use this.
            partial_stress: the stress of a structure without a periodic direction is NaN, instead of an error; for data
                of crystals and molecules together.

        Returns:
            target → (B, …), or (N, …) per atom, in the card's unit, float64 (or standardised, in the model's dtype);
            ``energy`` (B,) eV when the model has one; ``forces`` −∂E/∂r (N, 3) eV/Å; ``stress`` (1/V) ∂E/∂ε (B, 3, 3)
            eV/Å³, positive under tension, as in ASE. V is the volume of the given cell, for slabs and wires too.

        Raises:
            StructureError: stress of a structure without a periodic direction.
            UnknownNameError: an unknown derivative, or a derivative of a model without energy.
            PluginError: a readout gives another shape than it declares.
        """
        if not derivatives:
            graph = self.with_vectors(graph)
            network = self._network(self._backbone(graph), graph)
            return network if standardised else self._physical(network, graph)
        if torch.is_inference_mode_enabled() or graph.pos.is_inference():
            # Derivatives need autograd, which inference mode turns off for good: its tensors never take part again.
            with torch.inference_mode(False), torch.no_grad():
                return self.forward(graph.usable(), derivatives, standardised=standardised,
                                    partial_stress=partial_stress)
        target = self._energy_to_derive(graph, derivatives, partial_stress=partial_stress)
        keep_graph = torch.is_grad_enabled() and (self.training or graph.pos.requires_grad)
        with torch.enable_grad():
            pos, cell, strain = _strained(graph, "stress" in derivatives)
            graph = self.with_vectors(graph.replace(pos=pos, cell=cell))
            network = self._network(self._backbone(graph), graph)
            derived = self._derive(network[target], graph, pos, strain, keep_graph, partial_stress)
        if not keep_graph:
            network = {name: value.detach() for name, value in network.items()}
        return (network if standardised else self._physical(network, graph)) | derived

    def features(self, graph: Graph) -> Tensor:
        """Per-atom features (N, dim(irreps_out)) of the backbone."""
        return self._backbone(self.with_vectors(graph))

    def atomic_energies(self, graph: Graph) -> Tensor:
        """(N,) float64 energy of each atom, reference included, in the unit of :attr:`energy_target`.

        Raises:
            UnknownNameError: no target is an energy.
        """
        readout = self.readouts[self.required_energy]
        assert isinstance(readout, Energy)
        graph = self.with_vectors(graph)
        network = readout.per_atom(self._backbone(graph))
        if self.priors:
            network = network + self._priors(graph)
        per_atom = network.to(readout.constants.scale) * readout.constants.scale
        return per_atom + readout.constants.coefficients[self.element_index[graph.z]]

    def composition(self, graph: Graph) -> Tensor:
        """(B, n_elements) float64: number of atoms of each element; computed once for a batch that moves."""
        return graph.memoize(("composition", self.elements), lambda: self._composition(graph), edges_only=True)

    def _composition(self, graph: Graph) -> Tensor:
        n = len(self.elements)
        flat = graph.batch * n + self.element_index.index_select(0, graph.z)
        one = torch.ones(flat.shape, dtype=torch.float64, device=flat.device)
        return sum_by(one, flat, graph.num_graphs * n).view(-1, n)

    def standardise(self, name: str, value: Tensor, graph: Graph) -> Tensor:
        """Convert physical values of a target, (B, …) or (N, …) float64, to standardised ones in the model's dtype."""
        return self.readouts[name].standardise(value, graph, self.composition(graph)).to(self.dtype)

    def with_vectors(self, graph: Graph) -> Graph:
        """The graph with all edges within the backbone's cut-off, and edge vectors and lengths in the model's dtype."""
        if graph.edge_index is None or graph.cutoff not in (None, self.cutoff):
            graph = add_edges(graph, self.cutoff)
        vec = edge_vectors(graph, graph.pos, graph.cell).to(self.dtype)
        return graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1))

    def _backbone(self, graph: Graph) -> Tensor:
        """Features from the backbone, whose input edges the priors may modify (:meth:`Prior.network_graph`)."""
        for prior in self.priors.values():
            graph = prior.network_graph(graph)
        features = self.backbone(graph)
        if not torch.compiler.is_compiling():
            FeatureHook.note(self, features)
        return features

    def _network(self, h: Tensor, graph: Graph) -> dict[str, Tensor]:
        network = {name: readout(h, graph) for name, readout in self.readouts.items()}
        if not is_traced():  # while it is recorded, sizes are symbols, and comparing them would fix them
            for name, value in network.items():
                self.output_types[name].check(name, self.readouts[name], value, graph)
        if self.priors:
            prior = sum_by(self._priors(graph), graph.batch, graph.num_graphs)
            energy = self.required_energy
            network[energy] = network[energy] + prior
        return network

    def _priors(self, graph: Graph) -> Tensor:
        """(N,) sum of the priors' energies of each atom, in the same standardised units as the network's."""
        energy = torch.stack([prior(graph) for prior in self.priors.values()]).sum(0)
        return energy / self.scale_in_ev.to(energy.dtype)

    def _physical(self, network: dict[str, Tensor], graph: Graph) -> dict[str, Tensor]:
        composition = self.composition(graph)
        return {name: self.readouts[name].physical(value, graph, composition) for name, value in network.items()}

    def _derive(
        self, energy: Tensor, graph: Graph, pos: Tensor, strain: Tensor | None, keep_graph: bool, partial_stress: bool
    ) -> dict[str, Tensor]:
        # Reference energies do not depend on positions: forces are the derivative of the network's energy alone.
        to_ev = self.scale_in_ev
        inputs = [pos] if strain is None else [pos, strain]
        # Without edges the energy does not depend on positions: autograd gives None, and the force is zero.
        gradients = torch.autograd.grad(
            energy.sum(), inputs, create_graph=keep_graph, allow_unused=True, materialize_grads=True
        )
        derived = {"forces": -gradients[0] * to_ev.to(pos.dtype)}
        if strain is not None:
            assert graph.cell is not None  # stress without a cell was refused above
            volume = torch.linalg.det(graph.cell.detach()).abs()
            stress = gradients[1] * to_ev.to(pos.dtype)
            if partial_stress and graph.pbc is not None:
                # Where a cell means nothing, dividing by its volume could spoil the gradient.
                periodic = graph.pbc.any(1)
                stress = stress / torch.where(periodic, volume, 1.0)[:, None, None]
                stress = stress.where(periodic[:, None, None], torch.nan)
            else:
                stress = stress / volume[:, None, None]
            derived["stress"] = stress
        return derived

    def _energy_to_derive(self, graph: Graph, derivatives: Sequence[str], *, partial_stress: bool) -> str:
        """The energy target whose derivatives are requested; raises if the model has none."""
        unknown = [d for d in derivatives if d not in DERIVATIVES]
        if unknown:
            raise UnknownNameError(f"unknown derivative {unknown[0]!r}. Fix: choose from {', '.join(DERIVATIVES)}.")
        energy = self.required_energy
        if "stress" in derivatives:
            pbc = None if graph.cell is None else graph.pbc
            if pbc is None or not (partial_stress or bool(pbc.any(1).all())):
                raise StructureError("stress needs structures with a periodic direction. Fix: set cell and pbc.")
        return energy

    # -- predict, ASE, relaxation, dynamics --------------------------------------------------------------------

    def predict(self, structures: Any, **options: Any) -> Any:
        """Predict for one structure or a list, see :func:`zoo.inference.predict`."""
        from zoo.inference import predict

        return predict(self, structures, **options)

    @property
    def knows_crystals(self) -> bool:
        """Whether the card allows periodic structures; True for a model without a card."""
        return self.card is None or bool(self.card.domain.pbc)

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> Model:
        """A model of the Hub or of a folder, see :func:`zoo.loading.pretrained.from_pretrained`."""
        from zoo.loading import from_pretrained

        return from_pretrained(name, **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Push this model to the Hub, see :func:`zoo.loading.pretrained.push_to_hub`."""
        from zoo.loading import push_to_hub

        return push_to_hub(self, repo_id, **options)

    def calculator(self, **options: Any) -> Any:
        """An ASE calculator, see :class:`zoo.inference.ZooCalculator`."""
        from zoo.inference import ZooCalculator

        return ZooCalculator(self, **options)

    def relax(self, structures: Any, **options: Any) -> Any:
        """Relax structures in one batch, see :func:`zoo.simulation.relax`."""
        from zoo.simulation import relax

        return relax(self, structures, **options)

    def dynamics(self, structures: Any, **options: Any) -> Any:
        """Molecular dynamics of structures in one batch, see :class:`zoo.simulation.Dynamics`."""
        from zoo.simulation import Dynamics

        return Dynamics(self, structures, **options)


def _strained(graph: Graph, with_stress: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Positions that require grad and, for stress, a zero symmetric strain ε (B, 3, 3) of positions and cell."""
    pos = graph.pos if graph.pos.requires_grad else graph.pos.detach().requires_grad_(True)
    if not with_stress:
        return pos, graph.cell, None
    assert graph.cell is not None  # refused before
    strain = graph.pos.new_zeros(graph.num_graphs, 3, 3, requires_grad=True)
    symmetric = (strain + strain.transpose(1, 2)) / 2
    moved = pos + torch.einsum("nd,ndk->nk", pos, symmetric.index_select(0, graph.batch))
    return moved, graph.cell + graph.cell @ symmetric, strain
