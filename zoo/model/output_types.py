"""What a readout gives: rows per structure, atom or edge, the shape of each, and how it rotates with the structure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from zoo.errors import PluginError
from zoo.nn.irreps import FeatureLayout
from zoo.nn.rotations import transform

if TYPE_CHECKING:
    from zoo.graph.graph import Graph
    from zoo.model.readouts import Readout

__all__ = ["OutputType", "Per", "output_type"]

Per = Literal["structure", "atom", "edge"]


@dataclass(frozen=True)
class OutputType:
    """The type of a target.

    Attributes:
        per: what one row belongs to.
        shape: of one row.
        irreps: as declared; ``None`` if the shape alone says it: a Cartesian tensor if every axis has length 3
            (``(3,)`` a vector, ``(3, 3)`` a tensor), invariant numbers otherwise.
    """

    per: Per
    shape: tuple[int, ...]
    irreps: str | None

    @property
    def is_scalar(self) -> bool:
        """Whether a structure has one number."""
        return self.per == "structure" and not self.shape

    def rows(self, graph: Graph) -> int:
        """Number of rows for a batch; of a target per edge, for a graph with edges."""
        if self.per == "edge":
            return graph.num_edges
        return graph.num_nodes if self.per == "atom" else graph.num_graphs

    def check(self, name: str, readout: Readout, value: Tensor, graph: Graph) -> None:
        """Refuse an output of another shape than the declared one.

        Raises:
            PluginError: names the target, its readout, and both shapes.
        """
        expected = (self.rows(graph), *self.shape)
        if tuple(value.shape) != expected:
            raise PluginError(
                f"the readout {type(readout).__name__} of '{name}' gives the shape {tuple(value.shape)} for "
                f"{graph.num_graphs} structures of {graph.num_nodes} atoms; expected {expected}, one row per {self.per}"
                f". Fix: declare per = 'atom' (or 'structure', 'edge') and the shape of one row in the class, or "
                "correct its forward.")

    def rotated(self, value: Tensor, matrix: Tensor) -> Tensor:
        """Rows (n, *shape) of a structure after an orthogonal transformation (3, 3) of space, proper or not."""
        if self.irreps is not None and not _is_content(self.irreps, self.shape):
            return transform(self.irreps, value.reshape(len(value), -1), matrix).reshape(value.shape)
        if not _is_cartesian(self.shape):
            return value
        if self.irreps is not None:
            value = _projected(value, {term.l for term in FeatureLayout(self.irreps).terms})
        for axis in range(1, value.dim()):
            value = torch.tensordot(value, matrix.to(value), dims=([axis], [1])).movedim(-1, axis)
        is_pseudo = self.irreps is not None and FeatureLayout(self.irreps).terms[0].p != (-1) ** len(self.shape)
        return -value if is_pseudo and bool(torch.linalg.det(matrix.double()) < 0) else value


def output_type(name: str, readout: Readout) -> OutputType:
    """The type of a target from what its readout declares.

    Raises:
        PluginError: ``per`` or ``irreps`` cannot be read, or the irreps do not fit the shape.
    """
    where = f"the readout {type(readout).__name__} of '{name}'"
    per, shape, irreps = readout.per, tuple(readout.shape), readout.irreps
    if per not in get_args(Per):
        raise PluginError(f"{where} declares per = {per!r}. Fix: choose one of {', '.join(get_args(Per))}.")
    if irreps is None:
        return OutputType(per, shape, None)
    try:
        width = FeatureLayout(irreps).dim
    except (PluginError, AttributeError) as error:
        raise PluginError(f"{where} declares irreps = {irreps!r}, which cannot be read. "
                          "Fix: write terms like '0e', '1o' or '0e+2e'.") from error
    if not shape and width > 1:
        shape = (width,)  # irreps alone: their components in e3nn's order
    if width != math.prod(shape) and not _is_content(irreps, shape):
        raise PluginError(f"{where} declares irreps = {irreps!r}, {width} numbers, and shape = {shape}. Fix: leave out "
                          f"the shape, give ({width},), or (3, 3) for a Cartesian tensor of the irreps 0e, 1e and 2e.")
    return OutputType(per, shape, irreps)


def _is_cartesian(shape: tuple[int, ...]) -> bool:
    return bool(shape) and all(length == 3 for length in shape)


def _is_content(irreps: str, shape: tuple[int, ...]) -> bool:
    """Whether the irreps are parts of a Cartesian tensor (3, 3): trace (l = 0), antisymmetric and symmetric part."""
    terms = FeatureLayout(irreps).terms
    degrees = [term.l for term in terms]
    return (shape == (3, 3) and max(degrees) <= 2 and len(set(degrees)) == len(degrees)
            and all(term.mul == 1 for term in terms) and len({term.p for term in terms}) == 1)


def _projected(value: Tensor, degrees: set[int]) -> Tensor:
    """The parts of tensors (n, 3, 3) of the given degrees; the rest is not allowed, and shows as an error."""
    swapped = value.transpose(1, 2)
    trace = value.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(3).to(value)
    parts = {0: trace, 1: (value - swapped) / 2, 2: (value + swapped) / 2 - trace}
    return torch.stack([parts[degree] for degree in sorted(degrees)]).sum(0)
