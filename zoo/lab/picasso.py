"""The Picasso problem: classes that consist of the same parts in different arrangements.

Three rigid parts of three atoms each, bonded to each other at their first atoms. The two classes differ in the
orientation of the last part: by the angle at the joint (``bend``) or, with all angles the same, by a rotation around
it (``twist``). The atoms within the cut-off of each other are the bonded ones, at the same distances in both classes: a
network that reads distances has nothing to learn from, one that reads angles too learns to bend but not to twist.
Small networks are trained on structures that are turned at random and jittered, and tested on others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.graph.graph import Graph
from zoo.lab.expectations import Expectation, expectation
from zoo.lab.pairs import BOND, bonded, direction
from zoo.lab.probes import Probe, probe
from zoo.model.model import Model
from zoo.registry.families import FAMILIES

__all__ = ["CHANCE", "LEVELS", "SOLVED", "Accuracy", "face", "faces", "picasso"]

LEVELS = ("bend", "twist")
SOLVED = 0.95
CHANCE = 0.57
"""Upper bound of a random classifier's mean over five seeds with 200 tests each: 0.5 plus four standard errors."""

JITTER = 0.02
"""Å, standard deviation of the noise on every coordinate; changes angles by about a degree."""

_ELEMENTS = [6, 7, 8, 6, 1, 9, 6, 7, 8]
_BONDS = [(0, 1), (0, 2), (3, 4), (3, 5), (6, 7), (6, 8), (0, 3), (3, 6)]
_BATCH, _TEST = 32, 200
_ENOUGH = 0.05


@dataclass(frozen=True)
class Accuracy:
    """Test accuracy of a family on one level of the problem for each seed; chance is 0.5."""

    name: str
    level: str
    layers: int | None
    by_seed: tuple[float, ...]

    @property
    def mean(self) -> float:
        return fmean(self.by_seed)

    @property
    def solved(self) -> bool:
        return self.mean >= SOLVED

    @property
    def expected(self) -> Expectation | None:
        return expectation(self.name, self.level)

    @property
    def as_expected(self) -> bool | None:
        """Whether it is solved if theory says that these layers distinguish the classes, and at chance otherwise."""
        if self.expected is None or self.layers is None:
            return None
        visible = self.expected.layers is not None and self.expected.layers <= self.layers
        return self.solved if visible else self.mean <= CHANCE


def picasso(
    names: Iterable[str] = FAMILIES,
    *,
    levels: Iterable[str] = LEVELS,
    layers: int = 3,
    seeds: int = 5,
    steps: int = 150,
) -> list[Accuracy]:
    """Train every architecture with every seed on every level, and test it on new structures.

    Trained models are left out.
    """
    rows = []
    for name in names:
        found = probe(name)
        if found.trained is not None:
            continue
        for level in levels:
            by_seed = tuple(_trained_accuracy(found, level, layers, seed, steps) for seed in range(seeds))
            rows.append(Accuracy(name, level, found.depths([layers])[0], by_seed))
    return rows


def face(level: str, kind: int) -> Graph:
    """The three parts in class ``kind`` (0 or 1) without jitter: nine atoms, eight bonds of one length."""
    bend = (95.0, 125.0)[kind] if level == "bend" else 110.0
    twist = (60.0, 150.0)[kind] if level == "twist" else 105.0
    joints = torch.stack([direction(0, 0), direction(0, bend)])
    # The arms of the middle part are above and below the plane of the joints, and do not depend on the second joint.
    arms = torch.stack([direction(55, 235), direction(-55, 235)])
    first, last = _part(joints[0], direction(90, 0), 15.0), _part(joints[1], joints[0], twist)
    pos = torch.cat([first, torch.zeros(1, 3, dtype=torch.float64), arms, last])
    return bonded(_ELEMENTS, BOND * pos, _BONDS)


def _part(joint: Tensor, reference: Tensor, twist: float) -> Tensor:
    """(3, 3): an atom at the end of a joint, and its two arms at 110° to it; ``twist`` degrees from the reference."""
    side = F.normalize(reference - reference.dot(joint) * joint, dim=0)
    other = torch.linalg.cross(joint, side)
    theta, phi = math.radians(110), math.radians(twist)
    around = math.cos(phi) * side + math.sin(phi) * other
    arms = [-math.cos(theta) * joint + sign * math.sin(theta) * around for sign in (1, -1)]
    return torch.stack([joint, joint + arms[0], joint + arms[1]])


def faces(level: str, kinds: Tensor, generator: torch.Generator) -> Graph:
    """A batch of faces of the given classes (B,) in float32, each with noise and a random rotation."""
    templates = [face(level, kind) for kind in (0, 1)]
    pos = torch.stack([t.pos for t in templates])[kinds]
    pos = pos + JITTER * torch.randn(pos.shape, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(torch.randn(len(kinds), 3, 3, generator=generator, dtype=torch.float64))
    q = q * torch.sign(torch.diagonal(r, dim1=1, dim2=2))[:, None]
    q = q * torch.linalg.det(q)[:, None, None]
    pos = torch.einsum("bnk,bdk->bnd", pos, q).flatten(0, 1).float()
    size = len(_ELEMENTS)
    first = size * torch.arange(len(kinds))
    one = torch.stack([templates[0].source, templates[0].target])
    edges = (one[:, None] + first[:, None]).flatten(1)
    n_atoms = torch.full((len(kinds),), size)
    return Graph.from_tensors(templates[0].z.repeat(len(kinds)), pos, n_atoms=n_atoms).with_edges(edges)


def _trained_accuracy(found: Probe, level: str, layers: int, seed: int, steps: int) -> float:
    model = found.model(
        layers=layers, seed=seed, dtype="float32", targets={"class": {"readout": "intensive", "unit": "1"}}
    )
    stream = torch.Generator().manual_seed(seed)
    fit_backbone = getattr(model.backbone, "fit_constants", None)
    if fit_backbone is not None:
        fit_backbone(model.with_vectors(faces(level, _kinds(256, stream), stream)))
    _train(model.train(), level, stream, steps)
    kinds = _kinds(_TEST, stream)
    with torch.no_grad():
        logit = model.eval()(faces(level, kinds, stream), standardised=True)["class"]
    return float(((logit > 0) == (kinds == 1)).double().mean())


def _train(model: Model, level: str, stream: torch.Generator, steps: int) -> None:
    """Adam on the cross entropy with new structures in every batch; stops early when the loss is small."""
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    recent = 1.0
    for _ in range(steps):
        kinds = _kinds(_BATCH, stream)
        logit = model(faces(level, kinds, stream), standardised=True)["class"]
        loss = F.binary_cross_entropy_with_logits(logit, kinds.to(logit))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        recent = 0.9 * recent + 0.1 * float(loss.detach())
        if recent < _ENOUGH:
            return


def _kinds(count: int, stream: torch.Generator) -> Tensor:
    """Half of each class, in random order."""
    return (torch.arange(count) % 2)[torch.randperm(count, generator=stream)]
