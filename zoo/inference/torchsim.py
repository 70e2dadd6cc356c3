"""TorchSim model interface (Cohen et al. 2025, AI Sci. 1, 025003); needs the ``torchsim`` extra."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.errors import MissingExtraError, StructureError
from zoo.graph.graph import Graph
from zoo.inference.potential import Potential
from zoo.model.checks import Scope, check_distances, check_finite, check_geometry, check_structure, closest_allowed
from zoo.model.model import Model
from zoo.model.plausible import EnergyLimits, check_energy

try:
    import torch_sim
    from torch_sim.models.interface import ModelInterface
except ImportError as error:
    raise MissingExtraError("TorchSim", "torchsim") from error

__all__ = ["ZooTorchSim"]


class ZooTorchSim(ModelInterface):
    """TorchSim's model interface around a model with an energy.

    Args:
        model: on the device where simulations are to run.
        dtype: of the simulation's state, positions and energies; the network runs in the model's own. Total energies
            need float64.
        compute_stress: for crystals; as the card's domain says, if absent. TorchSim may switch it.
        skin: Å of the Verlet list.
        compile: see :class:`zoo.inference.potential.Potential`.

    Raises:
        ZooError: the model has no energy.
        StructureError: what the model cannot take, see :func:`zoo.inference.prediction.predict`; stress of a molecule.
    """

    def __init__(self, model: Model, *, dtype: torch.dtype = torch.float64, compute_stress: bool | None = None,
                 skin: float = 0.5, compile: bool = False) -> None:
        super().__init__()
        self._potential = Potential(model, skin=skin, compile=compile)
        self.model = model.eval().requires_grad_(False)
        self._device, self._dtype = model.device, dtype
        self._compute_stress = model.knows_crystals if compute_stress is None else compute_stress
        self._compute_forces = True
        self._memory_scales_with = "n_atoms_x_density"
        self._checked: tuple[Any, ...] | None = None
        self._closest = 0.0
        self._limits: list[tuple[float, float]] = []

    @property
    def compute_stress(self) -> bool:
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, value: bool) -> None:
        self._compute_stress = value

    @property
    def compute_forces(self) -> bool:
        return self._compute_forces

    @compute_forces.setter
    def compute_forces(self, value: bool) -> None:
        self._compute_forces = value

    @torch.inference_mode(False)
    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """``energy`` (B,) eV, ``forces`` (N, 3) eV/Å and ``stress`` (B, 3, 3) eV/Å³ of a ``SimState`` or its dict."""
        if isinstance(state, dict):
            state = torch_sim.SimState(**{"masses": torch.ones_like(state["positions"][:, 0]), **state})
        graph = self._potential.list.edges(self._graph(state))
        if self._potential.list.shortest < self._closest:
            check_distances(graph, "a system")
        wanted = [name for name in ("forces", "stress") if getattr(self, f"_compute_{name}")]
        if wanted:
            out = self._potential(graph, stress=self._compute_stress)
            results = {name: getattr(out, name) for name in ("energy", *wanted)}
        else:
            results = {"energy": self._potential.energy(graph)}
        check_finite({name: value.detach().cpu().numpy() for name, value in results.items()}, "a system")
        for number, (energy, limits) in enumerate(zip(results["energy"].tolist(), self._limits, strict=True)):
            check_energy(energy, limits, f"system {number}")
        return {name: value.detach().to(state.positions) for name, value in results.items()}

    def _graph(self, state: Any) -> Graph:
        optional: dict[str, Tensor] = {}
        # One value for all systems and directions, or one per direction, depending on the version of TorchSim.
        periodic = torch.as_tensor(state.pbc, dtype=torch.bool, device=self._device).expand(3)
        count = int(state.n_systems)
        if bool(periodic.any()):
            optional["cell"] = state.row_vector_cell.to(self._device, torch.float64)
            optional["pbc"] = periodic.expand(count, 3)
        index = state.system_idx
        if bool((index.diff() < 0).any()):
            raise StructureError("system_idx is not sorted. Fix: make the atoms of each system contiguous.")
        n_atoms = torch.bincount(index, minlength=count).to(self._device)
        z, pos = state.atomic_numbers.to(self._device), state.positions.detach().to(self._device, torch.float64)
        graph = Graph.from_tensors(z, pos, n_atoms=n_atoms, **optional)
        self._check(graph, periodic)
        return graph

    def _check(self, graph: Graph, periodic: Tensor) -> None:
        """Full check if the atoms have changed; coordinates and cell at every step."""
        known = self._checked
        same = known is not None and torch.equal(known[0], graph.ptr) and torch.equal(known[1], graph.z) \
            and torch.equal(known[2], periodic)
        if same:
            check_geometry(graph, "a system")
            return
        scope = Scope.of(self.model)
        for number, single in enumerate(graph.structures()):
            check_structure(scope, single, f"system {number}")
        self._checked, self._closest = (graph.ptr, graph.z, periodic), closest_allowed(graph.z)
        self._limits = EnergyLimits.of(self.model).of_batch(graph).tolist()
