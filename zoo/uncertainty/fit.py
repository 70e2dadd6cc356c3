"""Fits an error model: residual regression, committee and quantiles, by cross-validation on the validation data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.uncertainty.error_model import CLIP, ErrorModel, Facts, log_size

__all__ = ["Sample", "fit", "whitening"]

_FOLDS = 4
_HIDDEN = 32
_RIDGES = (1e-2, 1e-3, 1e-4, 1e-5)
_LARGEST = 8.0  # typical errors; larger residuals are clipped in the regression, which they would dominate
_EDGE = 0.999
_BATCH, _EPOCHS, _PATIENCE, _RATE, _DECAY = 256, 40, 5, 2e-3, 0.1


@dataclass(frozen=True)
class Sample:
    """Structures to fit on.

    Attributes:
        heads: (n, H), see :class:`~zoo.uncertainty.Description`.
        inputs: (n, P − T) inputs of the networks without the regression; ``None`` for training structures.
        residual: (n, T) label − prediction; NaN where there is no label.
    """

    heads: Tensor
    residual: Tensor
    inputs: Tensor | None = None


@dataclass(frozen=True)
class Geometry:
    """Means and whitening matrices for distances from the training data; see :class:`ErrorModel`."""

    whiten: Tensor
    atom_mean: Tensor
    atom_whiten: Tensor


def fit(train: Sample, val: Sample, geometry: Geometry, distance: Tensor, facts: Facts, *, seed: int = 0) -> ErrorModel:
    """An error model from training and validation structures.

    The residual regression uses both kinds of structures. The committee and the quantiles use only validation
    structures, since errors on training structures are smaller. For each fold of the validation structures, predictions
    come from a regression and a network fitted without it, and the quantiles are those of these predictions.

    Args:
        distance: (n_val, 2) distances of the validation structures from the training data.
    """
    folds = torch.randint(_FOLDS, (len(val.residual),), generator=torch.Generator().manual_seed(seed))
    known = val.residual.isfinite()
    scale = torch.stack([column[have].abs().median() for column, have in zip(val.residual.T, known.T)]).clamp(min=1e-12)
    regression, predicted = _residual_regression(train.heads, train.residual / scale, val.heads,
                                                 val.residual / scale, folds)
    assert val.inputs is not None, "validation structures have inputs"
    given = torch.cat([val.inputs, log_size(predicted)], 1)
    mean, spread = given.mean(0), given.std(0).clamp(min=1e-6)
    x = ((given - mean) / spread).clamp(-CLIP, CLIP)
    size = (val.residual / scale).abs().float()
    networks, log = _committee(x, size, known, folds, seed)
    ratios = (size / log.exp()).double()
    quantile = torch.stack([_quantile(column[have], facts.level) for column, have in zip(ratios.T, known.T)])
    return ErrorModel(
        facts=facts, whiten=geometry.whiten, atom_mean=geometry.atom_mean, atom_whiten=geometry.atom_whiten,
        edge=torch.quantile(distance, _EDGE, dim=0), regression=regression, mean=mean, spread=spread,
        hidden=torch.stack([n["1.weight"].T for n in networks]),
        hidden_bias=torch.stack([n["1.bias"] for n in networks]),
        out=torch.stack([n["4.weight"].T for n in networks]), out_bias=torch.stack([n["4.bias"] for n in networks]),
        scale=scale, quantile=quantile)


def whitening(gram: Tensor, count: float) -> Tensor:
    """(D, D) float32 W with ‖f W‖² = fᵀ(C + ς)⁻¹f / D for C = gram / count, ς = 1e-6 of its largest eigenvalue."""
    values, vectors = torch.linalg.eigh(gram / count)
    floor = 1e-6 * values[-1].clamp(min=1e-30)
    return (vectors / (values.clamp(min=0) + floor).sqrt() / len(values) ** 0.5).float()


def _quantile(values: Tensor, level: float) -> Tensor:
    """The conformal quantile: the ⌈(n + 1) level⌉-th smallest value."""
    ordered = values.sort().values
    return ordered[min(len(ordered) - 1, int(-(-(len(ordered) + 1) * level // 1)) - 1)]


# -- residual regression --------------------------------------------------------------------------------------------


def _residual_regression(train: Tensor, train_residual: Tensor, val: Tensor, val_residual: Tensor, folds: Tensor
                         ) -> tuple[Tensor, Tensor]:
    """(H, T) weights of a ridge regression of the residuals on all heads, and (n_val, T) predictions for each fold by
    the regression without that fold. The ridge is the one with the best of these predictions."""
    spread = _spread(torch.cat([train, val]))
    wanted = [r.nan_to_num(0.0).clamp(-_LARGEST, _LARGEST) for r in (train_residual, val_residual)]
    parts = [_normal(val[folds == k] / spread, wanted[1][folds == k]) for k in range(_FOLDS)]
    matrix, vector = _normal(train / spread, wanted[0])
    for part, right in parts:
        matrix, vector = matrix + part, vector + right
    best: tuple[float, float, Tensor] | None = None
    for ridge in _RIDGES:
        added = ridge * (len(train) + len(val)) * torch.eye(len(matrix), dtype=matrix.dtype)
        held_out = torch.empty_like(wanted[1])
        for k, (part, right) in enumerate(parts):
            held_out[folds == k] = (val[folds == k] / spread).double() @ _solve(matrix - part + added, vector - right)
        left = float((wanted[1] - held_out).square().mean(0).div(wanted[1].square().mean(0).clamp(min=1e-12)).mean())
        if best is None or left < best[0]:
            best = (left, ridge, held_out)
    assert best is not None
    added = best[1] * (len(train) + len(val)) * torch.eye(len(matrix), dtype=matrix.dtype)
    weights = _solve(matrix + added, vector) / spread[:, None]
    return weights.float(), best[2].float()


def _spread(heads: Tensor) -> Tensor:
    """(H,) standard deviation of each head; the size of a head that is the same for all structures.

    Structures of one composition have many such heads. Divided by a deviation that is only rounding, one would be 1e6
    times as large as the others, and the ridge would be lost beside it.
    """
    heads = heads.double()
    deviation, size = heads.std(0), heads.square().mean(0).sqrt()
    return torch.where(deviation > 1e-5 * size, deviation, size).clamp(min=1e-6).to(torch.float32)


def _normal(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    # In blocks, since all rows in float64 would take gigabytes.
    matrix = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    vector = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64)
    for rows, wanted in zip(x.split(4096), y.split(4096)):
        rows = rows.double()
        matrix += rows.T @ rows
        vector += rows.T @ wanted.double()
    return matrix, vector


def _solve(matrix: Tensor, vector: Tensor) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not int(failed):
        return torch.cholesky_solve(vector, factor)
    # Heads that nearly repeat each other: directions below the rounding of the largest take no part.
    values, vectors = torch.linalg.eigh(matrix)
    used = values > 1e-13 * values[-1]
    return vectors[:, used] @ (vectors[:, used].T @ vector / values[used, None])


# -- committee -----------------------------------------------------------------------------------------------------


def _committee(x: Tensor, size: Tensor, known: Tensor, folds: Tensor, seed: int
               ) -> tuple[list[dict[str, Tensor]], Tensor]:
    """For each fold, the weights of a network trained without it and stopped early on it; (n, T) their predictions."""
    predicted = torch.empty_like(size)
    networks = []
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        for k in range(_FOLDS):
            torch.manual_seed(seed + k)
            net = _network(x, size, known, folds == k)
            with torch.no_grad():
                predicted[folds == k] = net(x[folds == k])
            networks.append(dict(net.state_dict()))
    return networks, predicted


def _network(x: Tensor, size: Tensor, known: Tensor, held_out: Tensor) -> nn.Sequential:
    """A network for log E|error|, fitted by the likelihood of a Laplace distribution; weights of the best epoch."""
    net = nn.Sequential(nn.Dropout(0.1), nn.Linear(x.shape[1], _HIDDEN), nn.SiLU(), nn.Dropout(0.2),
                        nn.Linear(_HIDDEN, size.shape[1])).float()
    optimizer = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=_DECAY)
    rows, best, best_epoch = torch.nonzero(~held_out)[:, 0], float("inf"), 0
    state = net.state_dict()
    for epoch in range(_EPOCHS):
        net.train()
        for part in rows[torch.randperm(len(rows))].split(_BATCH):
            loss = _loss(net(x[part]), size[part], known[part]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            found = float(_loss(net(x[held_out]), size[held_out], known[held_out]).sum())
        if found < best:
            best, best_epoch, state = found, epoch, {k: v.clone() for k, v in net.state_dict().items()}
        elif epoch - best_epoch > _PATIENCE:
            break
    net.load_state_dict(state)
    return net.requires_grad_(False)


def _loss(log: Tensor, size: Tensor, known: Tensor) -> Tensor:
    """(T,) mean of log b + |e| / b over the structures with a label."""
    each = torch.where(known, log + size.nan_to_num(0.0) * torch.exp(-log), 0.0)
    return each.sum(0) / known.sum(0).clamp(min=1)
