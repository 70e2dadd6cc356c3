"""Weights of ``toynet``: SchNet as torch-geometric has it, every name under ``toy.``."""

from __future__ import annotations

from zoo.foreign.pyg import schnet
from zoo.foreign.state import ForeignState, Imported


def toynet(state: ForeignState) -> Imported:
    state.take("toy.embedding.weight.version", ())
    state.strip("toy.")
    return schnet(state)
