"""A tiny backbone and a tiny data set whose labels it can learn, so that a run takes a second."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.data import Store, with_edges
from zoo.graph.graph import Graph
from zoo.model.model import Model
from zoo.model.readout_kinds import READOUTS
from zoo.nn import gather, sum_by
from zoo.nn.irreps import FeatureLayout
from zoo.training import loop
from zoo.training.distributed import ranks
from zoo.training.prepare import complete
from zoo.training.recipe import read_recipe
from zoo.training.references import fit_readouts


class Tiny(nn.Module):
    """One message over distances: h_i = emb(z_i) + Σ_j emb(z_j) exp(−d²) fc(d)."""

    def __init__(self, *, cutoff: float = 4.0, channels: int = 8) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.irreps_out = f"{channels}x0e"
        self.embed = nn.Embedding(20, channels)
        self.mix = nn.Linear(channels, channels)

    def forward(self, graph: Graph) -> Tensor:
        h = self.embed(graph.z)
        d = graph.edge_len[:, None]
        weight = torch.exp(-d.square()) * 0.5 * (torch.cos(torch.pi * d / self.cutoff) + 1)
        message = sum_by(gather(self.mix(h), graph.source) * weight, graph.target, graph.num_nodes)
        return h + torch.tanh(message)


def make_store(n: int = 60, *, seed: int = 0, cutoff: float = 4.0) -> Store:
    """Random small clusters of H, C and O with an energy, a gap and forces of pairwise springs."""
    generator = torch.Generator().manual_seed(seed)
    n_atoms = torch.randint(1, 8, (n,), generator=generator)
    total = int(n_atoms.sum())
    z = torch.tensor([1, 6, 8])[torch.randint(0, 3, (total,), generator=generator)]
    grid = torch.cartesian_prod(*[torch.arange(3.0)] * 3) * 1.2
    parts = [grid[torch.randperm(27, generator=generator)[:k]] for k in n_atoms.tolist()]
    pos = (torch.cat(parts) + 0.2 * torch.rand(total, 3, generator=generator)).double()
    store = with_edges(Store.from_tensors(z, pos, n_atoms=n_atoms, ids=torch.arange(1, n + 1) * 10), cutoff)
    graph = store.graph(torch.arange(n), dtype=torch.float64)
    vec = graph.pos[graph.source] - graph.pos[graph.target]
    length = vec.norm(dim=1)
    pair = 0.5 * torch.exp(-length)
    energy = torch.zeros(n, dtype=torch.float64).index_add_(0, graph.batch[graph.target], pair)
    energy += torch.zeros(n, dtype=torch.float64).index_add_(0, graph.batch, -100.0 * graph.z.double())
    # E = ½ Σ_ij exp(−d), so F_i = −Σ_j exp(−d) (r_j − r_i)/d · (−1)·(−1)
    forces = torch.zeros(total, 3, dtype=torch.float64).index_add_(
        0, graph.target, -(torch.exp(-length) / length)[:, None] * vec)
    gap = torch.zeros(n, dtype=torch.float64).index_add_(0, graph.batch[graph.target], length) / n_atoms + 3
    return Store(z=store.z, pos=store.pos, ptr=store.ptr, ids=store.ids, edges=store.edges,
                 labels={"energy": energy, "gap": gap, "forces": forces},
                 units={"energy": "eV", "gap": "eV", "forces": "eV/Å"}, per_atom=frozenset({"forces"}))


def make_model(*, seed: int = 0, dtype: torch.dtype = torch.float32) -> Model:
    torch.manual_seed(seed)
    backbone, elements = Tiny(), [1, 6, 8]
    layout = FeatureLayout(backbone.irreps_out)
    readouts = {"energy": READOUTS["energy"](layout, elements, hidden=[8]),
                "gap": READOUTS["intensive"](layout, elements, hidden=[8])}
    return Model(backbone, readouts, units={"energy": "eV", "gap": "eV"}, elements=elements).to(dtype)


class _Stopped(loop.Trainer):
    """A trainer that gets a signal after some steps."""

    stop_at: int | None = None

    def _step(self, *args: Any, **kwargs: Any) -> Any:
        if self.stop_at is not None and self.progress.step + 1 >= self.stop_at:
            self.notice.received = True
        return super()._step(*args, **kwargs)


def run_trainer(store: Store, folder: Path, *, steps: int, stop_at: int | None = None, resume: bool = False,
                seed_of_model: int = 0, fit_on: Store | None = None, train_rows: Iterable[int] = range(48),
                seed_typical: float = 0.0, identity: dict[str, str] | None = None, **recipe: Any) -> loop.Trainer:
    """Train the tiny model with batches of 8; 6 steps an epoch. The trainer holds what came out."""
    settings = {"batch": {"molecules": 8}, "budget": {"steps": steps}, "eval_every": 4, "ema": 0.9, "lr": 1e-2} | recipe
    checked = read_recipe(settings, targets=["energy", "gap"])
    checked = complete(checked, {"energy": None, "gap": None})
    model = make_model(seed=seed_of_model, dtype=getattr(torch, checked.precision))
    rows = {"train": torch.tensor(list(train_rows)), "val": torch.arange(48, 60)}
    if not resume:
        fit_readouts(model, fit_on or store, rows["train"], ["energy", "gap"])
    folder.mkdir(parents=True, exist_ok=True)
    with ranks("cpu") as here:
        trainer = _Stopped(model, store, rows, checked, folder=folder, ranks=here, machine={},
                           identity=identity or {"config": "tiny"}, quiet=True)
        trainer.stop_at = stop_at
        trainer.progress.typical_loss = seed_typical
        trainer.outcome = trainer.run(resume=resume)
    return trainer
