"""The zoo's ASE calculator, float32, Verlet list with a skin of 0.5 Å; compiled, if the configuration asks for it.

Libraries are compiled anew in every run: one that is kept was made by the code of its day.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from md_worker import Engine

import zoo
from zoo.graph.graph import Graph

_HOME = tempfile.TemporaryDirectory()
os.environ["ZOO_HOME"] = _HOME.name


def build(family: str, config: dict[str, Any], symbols: list[str], now: Callable[[], float]) -> Engine:
    torch.manual_seed(0)
    config = dict(config)
    compile = config.pop("compile", False)
    model = zoo.create(family, elements=symbols, preset="paper", **config)
    calculator = model.calculator(skin=0.5, compile=compile)
    spent = [0.0]
    edges = calculator._potential.list.edges

    def timed(graph: Graph) -> Graph:
        begin = now()
        graph = edges(graph)
        spent[0] += now() - begin
        return graph

    calculator._potential.list.edges = timed
    return Engine(calculator, {"geometric-zoo": version("geometric-zoo")}, lambda: spent[0])
