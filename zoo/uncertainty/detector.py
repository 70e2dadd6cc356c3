"""Tells the kind of geometry that a model was trained on from other kinds, by the features of the model itself.

A model that was trained at the minima of one method is wrong at those of another by more than its intervals say, while
composition, bonds and distances from the training data look as usual. The features differ nevertheless, and a small
network for each other kind learns to see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.uncertainty.descriptors import Description

__all__ = ["GeometryDetector", "detector_inputs", "fit_detector"]

FALSE_ALARMS = 0.05
"""Share of the validation structures of the own kind that are flagged by one of the networks or another."""
_HIDDEN, _BATCH, _EPOCHS, _RATE, _DECAY = 32, 256, 30, 2e-3, 0.05
_CLIP = 6.0  # standard deviations


@dataclass(frozen=True, eq=False)
class GeometryDetector:
    """For each of K other kinds of geometry the log odds that a structure is of this kind.

    Attributes:
        kinds: names of the other kinds.
        mean, spread: (P,) of the inputs.
        hidden, hidden_bias, out, out_bias: (K, P, M), (K, M), (K, M), (K,): a network a kind.
        threshold: (K,) log odds above which a structure is flagged.
    """

    kinds: list[str]
    mean: Tensor
    spread: Tensor
    hidden: Tensor
    hidden_bias: Tensor
    out: Tensor
    out_bias: Tensor
    threshold: Tensor

    def log_odds(self, given: Tensor) -> Tensor:
        """(B, K) above the threshold; ``given`` (B, P) from :func:`detector_inputs`."""
        x = ((given - self.mean) / self.spread).clamp(-_CLIP, _CLIP)
        hidden = torch.nn.functional.silu(torch.einsum("bp,kpm->kbm", x, self.hidden) + self.hidden_bias[:, None])
        return torch.einsum("kbm,km->bk", hidden, self.out) + self.out_bias - self.threshold

    def __call__(self, description: Description) -> tuple[Tensor, list[str | None]]:
        """(B,) largest log odds above the threshold, and the kind that each structure is taken for; ``None``: own."""
        most, kind = self.log_odds(detector_inputs(description)).max(1)
        return most, [self.kinds[k] if odds > 0 else None for odds, k in zip(most.tolist(), kind.tolist())]


def detector_inputs(description: Description) -> Tensor:
    """(B, P): mean features, and the descriptors of the heads."""
    sums, atoms = description.pooled[:, :-1], description.pooled[:, -1:].clamp(min=1)
    return torch.cat([sums / atoms, description.heads], 1)


def fit_detector(own: Tensor, own_val: Tensor, others: Mapping[str, Tensor], *, seed: int = 0) -> GeometryDetector:
    """A detector from structures of the training split; the thresholds come from the validation split.

    Args:
        own: (n, P) inputs of training structures of the own kind. own_val: of validation structures.
        others: the same of training structures, by kind.
    """
    mean, spread = own.mean(0), own.std(0).clamp(min=1e-6)
    networks = [_network(own, other, mean, spread, seed) for other in others.values()]
    weights = {name: torch.stack([net[name] for net in networks]) for name in networks[0]}
    detector = GeometryDetector(
        kinds=list(others), mean=mean, spread=spread, hidden=weights["1.weight"].mT.contiguous(),
        hidden_bias=weights["1.bias"], out=weights["4.weight"][:, 0], out_bias=weights["4.bias"][:, 0],
        threshold=torch.zeros(len(networks)))
    detector.threshold.copy_(_threshold(detector.log_odds(own_val)))
    return detector


def _threshold(log_odds: Tensor) -> Tensor:
    """(K,) the same quantile of each column, above which :data:`FALSE_ALARMS` of the rows have an entry."""
    low, high = 1 - FALSE_ALARMS, 1.0
    for _ in range(30):
        middle = 0.5 * (low + high)
        flagged = (log_odds > log_odds.quantile(middle, dim=0)).any(1).float().mean()
        low, high = (middle, high) if flagged > FALSE_ALARMS else (low, middle)
    return log_odds.quantile(high, dim=0)


def _network(own: Tensor, other: Tensor, mean: Tensor, spread: Tensor, seed: int) -> dict[str, Tensor]:
    """Weights of a classifier of both kinds, which count equally however many there are of each."""
    x = ((torch.cat([own, other]) - mean) / spread).clamp(-_CLIP, _CLIP)
    label = torch.cat([torch.zeros(len(own)), torch.ones(len(other))])
    weight = torch.cat([torch.full((len(part),), len(x) / (2 * len(part))) for part in (own, other)])
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Dropout(0.1), nn.Linear(x.shape[1], _HIDDEN), nn.SiLU(), nn.Dropout(0.2),
                            nn.Linear(_HIDDEN, 1)).float()
        optimizer = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=_DECAY)
        for _ in range(_EPOCHS):
            for part in torch.randperm(len(x)).split(_BATCH):
                loss = nn.functional.binary_cross_entropy_with_logits(net(x[part])[:, 0], label[part], weight[part])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return {name: value.detach() for name, value in net.state_dict().items()}
