"""Plugins' changes of training batches: noise, rotations and other augmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from zoo.errors import TrainingError
from zoo.graph import Graph, add_edges
from zoo.training import parts
from zoo.training.recipe import Part

__all__ = ["Transforms"]


class Transforms:
    """One after the other, with random numbers that follow from the seed of the run and the place of the batch.

    Edges are found again where positions or cells have changed.
    """

    def __init__(self, transforms: Sequence[Part], seed: int) -> None:
        self._functions = [(part.kind, parts.make("transform", part.kind, part.options)) for part in transforms]
        self._seed = seed

    def __call__(self, graph: Graph, *place: int) -> Graph:
        """The batch at ``place``, such as its step and its first row.

        Raises:
            TrainingError: a transform gives something else than a graph of the same atoms.
        """
        for number, (name, function) in enumerate(self._functions):
            (seed,) = np.random.SeedSequence([self._seed, number, *place]).generate_state(1, np.uint64)
            changed = function(graph, generator=torch.Generator().manual_seed(int(seed) >> 1))
            if not isinstance(changed, Graph) or not torch.equal(changed.z, graph.z) or not torch.equal(
                    changed.ptr, graph.ptr):
                raise TrainingError(f"transform '{name}' does not give the same atoms back: the labels would not fit. "
                                    "Fix: return graph.replace(pos=…) or the like.")
            moved = changed.pos is not graph.pos or changed.cell is not graph.cell
            if moved and graph.cutoff is not None:
                changed = add_edges(changed.replace(edge_index=None, edge_shift=None, cutoff=None), graph.cutoff)
            graph = changed
        return graph
