"""The error model: from descriptors of a structure to the half-width of an interval for each of its targets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo.cards.weights import METADATA_KEY, read_header, read_tensors
from zoo.elements import SYMBOLS
from zoo.errors import WeightsError
from zoo.files.atomic_writes import replacing
from zoo.files.bounded_reads import parse_json
from zoo.uncertainty.descriptors import Description
from zoo.uncertainty.detector import GeometryDetector

__all__ = ["FILE", "WITH_DETECTOR", "ErrorModel", "Estimate", "Facts"]

FILE = "uncertainty.safetensors"
"""Name of the file next to the weights."""

_FORMAT = 1
WITH_DETECTOR = 2
"""Format of a file with a detector; without one it is that of earlier versions."""
_FLOOR = 0.05  # of the typical error; a smaller output of the residual regression is noise
CLIP = 4.0  # standard deviations; the networks would extrapolate beyond
_DETECTOR = tuple(f.name for f in fields(GeometryDetector) if f.name != "kinds")
_ABSENT: dict[str, object] = {"fewest": {}, "radicals": True, "kinds": []}
"""Facts that a file without them stands for; a file that would say just this does not."""
_STORED = {"regression": "opinion"}
"""Fields whose name in the file differs."""


@dataclass(frozen=True)
class Estimate:
    """Error estimates of B structures.

    Attributes:
        widths: target → (B,) half-width of the interval, in the target's unit.
        out_of_distribution: for each structure, the reasons why it is out of distribution; empty if it is not.
        log_odds: (B,) of a geometry of another kind, above the threshold of the detector; ``None`` without a detector.
    """

    widths: dict[str, np.ndarray]
    out_of_distribution: list[list[str]]
    log_odds: np.ndarray | None = None


@dataclass(frozen=True)
class Facts:
    """The part of an error model that is not tensors.

    Attributes:
        weights: sha256 of the weights that it was fitted to.
        targets: in the order of its columns.
        elements: atomic numbers of the composition.
        level: share of errors that the intervals cover on the validation data.
        most: largest number of atoms of each element, of heavy atoms and of all atoms, in a training structure.
        finite: True for molecules, whose size is compared with ``most``.
        train, val: number of structures that it was fitted on.
        fewest: smallest number of heavy atoms and of all atoms in a training structure; empty if not known.
        radicals: False if every training structure has an even number of electrons.
        kinds: kinds of geometry that its detector tells from that of the training data; empty without a detector.
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
    kinds: list[str] = field(default_factory=list)
    fewest: dict[str, int] = field(default_factory=dict)
    radicals: bool = True


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Interval half-width = quantile · scale · stretch · mean over committee of exp(network(inputs)).

    The inputs are composition, summed and mean features, two distances from the training data, and the output of a
    *residual regression*: a linear regression of the residuals on the descriptors of all targets together, which is
    large where the targets contradict each other. ``stretch`` is 1 within the training data and grows in proportion to
    the distance beyond its edge, like the last-layer variance fᵀ(C + ς)⁻¹f of Bigi et al. (2024).

    Attributes:
        whiten: (F + 1, F + 1), so that ‖pooled · whiten‖² = fᵀ(C + ς)⁻¹f / (F + 1).
        atom_mean, atom_whiten: (F,), (F, F), the same for single atoms, centred.
        edge: (2,) the two distances at the edge of the training data.
        regression: (H, T) weights of the residual regression, in units of ``scale``.
        mean, spread: (P,) of the inputs.
        hidden, hidden_bias, out, out_bias: (K, P, M), (K, M), (K, M, T), (K, T): a committee of K networks.
        scale, quantile: (T,) typical error in the target's unit; multiple of exp(network) that covers ``level``.
        detector: flags geometries of other kinds, if it was fitted to them.
    """

    facts: Facts
    whiten: Tensor
    atom_mean: Tensor
    atom_whiten: Tensor
    edge: Tensor
    regression: Tensor
    mean: Tensor
    spread: Tensor
    hidden: Tensor
    hidden_bias: Tensor
    out: Tensor
    out_bias: Tensor
    scale: Tensor
    quantile: Tensor
    path: Path | None = field(default=None, compare=False)
    detector: GeometryDetector | None = None

    def __call__(self, description: Description) -> Estimate:
        distance = torch.stack([pooled_distance(description, self.whiten),
                                atom_distance(description, self.atom_mean, self.atom_whiten)], 1)
        given = inputs(description, distance, description.heads @ self.regression)
        ratio = (distance / self.edge).amax(1)
        log = self.network(given)
        width = (log.exp() * ratio.clamp(min=1)[:, None]).double() * self.quantile * self.scale
        columns = {target: width[:, k].numpy() for k, target in enumerate(self.facts.targets)}
        reasons = self._out_of_distribution(description, ratio)
        if self.detector is None:
            return Estimate(columns, reasons)
        most, kinds = self.detector(description)
        for found, kind in zip(reasons, kinds):
            if kind is not None:
                found.append(f"its geometry is like one of {kind}, not like those trained on")
        return Estimate(columns, reasons, most.numpy())

    def network(self, given: Tensor) -> Tensor:
        """(B, T) logarithm of the expected error in units of ``scale``: the mean of the committee."""
        x = ((given - self.mean) / self.spread).clamp(-CLIP, CLIP)
        hidden = torch.nn.functional.silu(torch.einsum("bp,kpm->kbm", x, self.hidden) + self.hidden_bias[:, None])
        return (torch.einsum("kbm,kmt->kbt", hidden, self.out) + self.out_bias[:, None]).mean(0)

    def _out_of_distribution(self, description: Description, ratio: Tensor) -> list[list[str]]:
        counts = description.composition.round().long().tolist()
        return [self._reasons(dict(zip(self.facts.elements, row)), far) for row, far in zip(counts, ratio.tolist())]

    def _reasons(self, count: Mapping[int, int], far: float) -> list[str]:
        reasons, most = [], self.facts.most
        sizes = {"heavy atoms": sum(n for z, n in count.items() if z > 1), "atoms": sum(count.values())}
        for what, n in sizes.items():
            if self.facts.finite and n > most[what]:
                reasons.append(f"{n} {what}, and the largest trained on has {most[what]}")
                break
            if self.facts.finite and n < self.facts.fewest.get(what, 0):
                reasons.append(f"{n} {what}, and the smallest trained on has {self.facts.fewest[what]}")
                break
        if self.facts.finite and not self.facts.radicals and sum(z * n for z, n in count.items()) % 2:
            reasons.append("an odd number of electrons, and no radical or ion was trained on")
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
        """Write the file, by rename; equal models give identical files."""
        from safetensors.torch import save as to_bytes

        tensors = {key: getattr(self, name).contiguous() for key, name in _tensor_names().items()}
        facts = {key: value for key, value in asdict(self.facts).items()
                 if key not in _ABSENT or value != _ABSENT[key]}
        if self.detector is not None:
            tensors |= {f"detector.{key}": getattr(self.detector, key).contiguous() for key in _DETECTOR}
        metadata = {METADATA_KEY: json.dumps(facts, sort_keys=True)}
        with replacing(path) as staging:
            staging.write_bytes(to_bytes(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: Path) -> ErrorModel:
        """Read a file.

        Raises:
            WeightsError: the file is incomplete, of another kind, or of a newer version of this package.
        """
        names = _tensor_names()
        header, metadata = read_header(path)
        try:
            facts = parse_json(metadata[METADATA_KEY].encode())
            own = {f"detector.{key}" for key in _DETECTOR} if facts["format"] == WITH_DETECTOR else set()
            if facts["format"] not in (_FORMAT, WITH_DETECTOR) or set(header) != set(names) | own:
                raise WeightsError(f"{path} is an error model of format {facts['format']}, and this zoo reads formats "
                                   f"{_FORMAT} and {WITH_DETECTOR}. Fix: fit it again with zoo calibrate")
            known = Facts(**facts)
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{path} is not an error model. Fix: fit one with zoo calibrate") from error
        tensors = read_tensors(path)
        detector = GeometryDetector(kinds=known.kinds, **{key.removeprefix("detector."): tensors.pop(key)
                                                          for key in sorted(own)}) if own else None
        return cls(facts=known, path=path, detector=detector, **{names[key]: value for key, value in tensors.items()})


# -- shared with fitting -----------------------------------------------------------------------------------------------


def _tensor_names() -> dict[str, str]:
    """Name in the file → field, for all tensors."""
    other = ("facts", "path", "detector")
    return {_STORED.get(f.name, f.name): f.name for f in fields(ErrorModel) if f.name not in other}


def pooled_distance(description: Description, whiten: Tensor) -> Tensor:
    """(B,) distance of the summed features from the training data, where it is about 1."""
    return (description.pooled @ whiten).norm(dim=1)


def atom_distance(description: Description, mean: Tensor, whiten: Tensor) -> Tensor:
    """(B,) largest distance of an atom of each structure; about 1 for most atoms of the training data."""
    each = ((description.atoms - mean) @ whiten).norm(dim=1)
    count = description.pooled.shape[0]
    return each.new_zeros(count).scatter_reduce(0, description.batch, each, "amax")


def inputs(description: Description, distance: Tensor, residual: Tensor) -> Tensor:
    """(B, P) inputs of the networks; ``residual`` (B, T) is predicted by the residual regression."""
    sums, atoms = description.pooled[:, :-1], description.pooled[:, -1:].clamp(min=1)
    return torch.cat([description.composition, atoms, sums, sums / atoms, distance.clamp(min=1e-6).log(),
                      log_size(residual)], 1)


def log_size(residual: Tensor) -> Tensor:
    """(B, T) logarithm of the size of the predicted residuals, in units of the typical error."""
    return (residual.abs() + _FLOOR).log()
