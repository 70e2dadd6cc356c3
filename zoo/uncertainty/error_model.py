"""The error model: from descriptors of a structure to the half-width of an interval for each of its values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.cards.weights import METADATA_KEY, read_header
from zoo.elements import SYMBOLS
from zoo.errors import WeightsError
from zoo.files.replacing import replacing
from zoo.uncertainty.describe import Description

__all__ = ["FILE", "ErrorModel", "Estimate", "Facts"]

FILE = "uncertainty.safetensors"
"""Its name beside the weights."""

_FORMAT = 1
_FLOOR = 0.05  # of the typical error; below it, what a second opinion differs by says nothing
CLIP = 4.0  # standard deviations of an input beyond which a network would extrapolate


@dataclass(frozen=True)
class Estimate:
    """Of B structures.

    Attributes:
        widths: target → (B,) half-width of the interval, in the target's unit.
        outside: per structure, why it lies outside the training data; empty for one that lies inside.
    """

    widths: dict[str, np.ndarray]
    outside: list[list[str]]


@dataclass(frozen=True)
class Facts:
    """What an error model knows that is no tensor.

    Attributes:
        weights: sha256 of the weights that it was fitted to.
        targets: in the order of its columns. elements: atomic numbers of the composition.
        level: share of errors that the interval is to cover.
        most: largest number of atoms of each element, of heavy atoms and of all atoms, in a training structure.
        finite: whether structures are molecules, so that their size counts.
        train, val: structures that it was fitted on.
    """

    weights: str
    targets: list[str]
    elements: list[int]
    level: float
    most: dict[str, int]
    finite: bool
    train: int
    val: int
    format: int = _FORMAT


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Interval half-width = quantile · scale · stretch · mean over committee of exp(network(inputs)).

    The inputs are composition, summed and mean features, two distances from the training data, and the size of a
    *second opinion*: a linear regression of the residuals on all heads together, which sees where targets contradict
    each other. ``stretch`` is 1 inside the training data and grows in proportion to the distance beyond its edge, as
    the last-layer variance fᵀ(C + ς)⁻¹f of Bigi et al. (2024) does.

    Attributes:
        whiten: (F + 1, F + 1), so that ‖pooled · whiten‖² = fᵀ(C + ς)⁻¹f / (F + 1).
        atom_mean, atom_whiten: (F,), (F, F), the same for single atoms, centred.
        edge: (2,) the two distances at the edge of the training data.
        opinion: (H, T) the second opinion, in units of ``scale``.
        mean, spread: (P,) of the inputs.
        hidden, hidden_bias, out, out_bias: (K, P, M), (K, M), (K, M, T), (K, T): a committee of K networks.
        scale, quantile: (T,) typical error in the target's unit; multiple of exp(network) that covers ``level``.
    """

    facts: Facts
    whiten: Tensor
    atom_mean: Tensor
    atom_whiten: Tensor
    edge: Tensor
    opinion: Tensor
    mean: Tensor
    spread: Tensor
    hidden: Tensor
    hidden_bias: Tensor
    out: Tensor
    out_bias: Tensor
    scale: Tensor
    quantile: Tensor
    path: Path | None = field(default=None, compare=False)

    def __call__(self, description: Description) -> Estimate:
        distance = torch.stack([pooled_distance(description, self.whiten),
                                atom_distance(description, self.atom_mean, self.atom_whiten)], 1)
        given = inputs(description, distance, description.heads @ self.opinion)
        ratio = (distance / self.edge).amax(1)
        log = self.network(given)
        width = (log.exp() * ratio.clamp(min=1)[:, None]).double() * self.quantile * self.scale
        columns = {target: width[:, k].numpy() for k, target in enumerate(self.facts.targets)}
        return Estimate(columns, self._outside(description, ratio))

    def network(self, given: Tensor) -> Tensor:
        """(B, T) logarithm of the expected error in units of ``scale``: the mean of the committee."""
        x = ((given - self.mean) / self.spread).clamp(-CLIP, CLIP)
        hidden = torch.nn.functional.silu(torch.einsum("bp,kpm->kbm", x, self.hidden) + self.hidden_bias[:, None])
        return (torch.einsum("kbm,kmt->kbt", hidden, self.out) + self.out_bias[:, None]).mean(0)

    def _outside(self, description: Description, ratio: Tensor) -> list[list[str]]:
        counts = description.composition.round().long().tolist()
        return [self._reasons(dict(zip(self.facts.elements, row)), far) for row, far in zip(counts, ratio.tolist())]

    def _reasons(self, count: Mapping[int, int], far: float) -> list[str]:
        reasons, most = [], self.facts.most
        sizes = {"heavy atoms": sum(n for z, n in count.items() if z > 1), "atoms": sum(count.values())}
        for what, n in sizes.items():
            if self.facts.finite and n > most[what]:
                reasons.append(f"{n} {what}, and the largest trained on has {most[what]}")
                break
        for z, n in count.items():
            limit = most[SYMBOLS[z]]
            if n and not limit:
                reasons.append(f"no structure with {SYMBOLS[z]} was trained on")
            elif self.facts.finite and n > limit:
                reasons.append(f"{n} atoms of {SYMBOLS[z]}, and at most {limit} were trained on")
        if far > 1:
            reasons.append(f"its features are {far:.2g} times as far from those trained on as nearly all others'")
        return reasons

    # -- file --------------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write the file, by rename; equal models give equal bytes."""
        from safetensors.torch import save as to_bytes

        tensors = {f.name: getattr(self, f.name).contiguous() for f in fields(self) if f.name not in ("facts", "path")}
        metadata = {METADATA_KEY: json.dumps(asdict(self.facts), sort_keys=True)}
        with replacing(path) as staging:
            staging.write_bytes(to_bytes(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: Path) -> ErrorModel:
        """Read a file.

        Raises:
            WeightsError: no complete file of this kind, or one of a newer zoo.
        """
        from safetensors.torch import load_file

        names = {f.name for f in fields(cls)} - {"facts", "path"}
        header, metadata = read_header(path)
        try:
            facts = json.loads(metadata[METADATA_KEY])
            if facts["format"] != _FORMAT or set(header) != names:
                raise WeightsError(f"{path}: an error model of format {facts['format']}, and this zoo reads format "
                                   f"{_FORMAT}: fit it again with zoo calibrate")
            known = Facts(**facts)
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{path}: no error model of zoo calibrate") from error
        return cls(facts=known, path=path, **load_file(path))


# -- parts that fitting needs too --------------------------------------------------------------------------------------


def pooled_distance(description: Description, whiten: Tensor) -> Tensor:
    """(B,) distance of the summed features, about 1 in the training data."""
    return (description.pooled @ whiten).norm(dim=1)


def atom_distance(description: Description, mean: Tensor, whiten: Tensor) -> Tensor:
    """(B,) largest distance of one of a structure's atoms, about 1 for most atoms of the training data."""
    each = ((description.atoms - mean) @ whiten).norm(dim=1)
    count = description.pooled.shape[0]
    return each.new_zeros(count).scatter_reduce(0, description.batch, each, "amax")


def inputs(description: Description, distance: Tensor, opinion: Tensor) -> Tensor:
    """(B, P) inputs of the networks; ``opinion`` (B, T) in units of the typical error."""
    sums, atoms = description.pooled[:, :-1], description.pooled[:, -1:].clamp(min=1)
    return torch.cat([description.composition, atoms, sums, sums / atoms, distance.clamp(min=1e-6).log(),
                      opinion_size(opinion)], 1)


def opinion_size(opinion: Tensor) -> Tensor:
    """(B, T) logarithm of how much a second opinion differs, in units of the typical error."""
    return (opinion.abs() + _FLOOR).log()
