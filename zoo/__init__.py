"""Zoo: geometric graph neural networks by name — trained, measured, checksummed.

    import zoo
    model = zoo.load("painn-qm9")
    model.predict(ase.build.molecule("CH3CH2OH"))

Importing this module imports nothing else; each name below is fetched on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.card import Card, TargetSpec
    from zoo.comparison import compare
    from zoo.errors import ZooError
    from zoo.evaluation import evaluate
    from zoo.exporting import export, load_exported
    from zoo.graph import Graph
    from zoo.hub import pull, push
    from zoo.loading import create, load, save
    from zoo.model import Model
    from zoo.plugin import Architecture, DatasetSpec, hookimpl
    from zoo.registry import list_models, show
    from zoo.training import train

__all__ = ["Architecture", "Card", "DatasetSpec", "Graph", "Model", "TargetSpec", "ZooError", "compare", "create",
           "evaluate", "export", "hookimpl", "list_models", "load", "load_exported",
           "pull", "push", "save", "show", "train"]

_HOME = {
    "Architecture": "zoo.plugin", "Card": "zoo.card", "DatasetSpec": "zoo.plugin", "Graph": "zoo.graph",
    "Model": "zoo.model", "TargetSpec": "zoo.card", "ZooError": "zoo.errors", "compare": "zoo.comparison",
    "create": "zoo.loading", "evaluate": "zoo.evaluation", "export": "zoo.exporting", "hookimpl": "zoo.plugin",
    "list_models": "zoo.registry", "load": "zoo.loading", "load_exported": "zoo.exporting", "pull": "zoo.hub",
    "push": "zoo.hub", "save": "zoo.loading", "show": "zoo.registry", "train": "zoo.training",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("geometric-zoo")
    if name not in _HOME:
        raise AttributeError(f"module 'zoo' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
