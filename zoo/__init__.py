"""Zoo: geometric graph neural networks by name — trained, measured, checksummed.

    import zoo
    model = zoo.load("painn-qm9")
    model.predict(ase.build.molecule("CH3CH2OH"))

Importing this module imports nothing else; each name below is fetched on first use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.cards.card import Card
    from zoo.cards.sections import TargetSpec
    from zoo.comparison import compare
    from zoo.errors import ZooError
    from zoo.evaluation.evaluation import evaluate
    from zoo.exporting import export, load_exported
    from zoo.graph.graph import Graph
    from zoo.hub import push
    from zoo.inference.molecules import predict_smiles
    from zoo.loading.models import create, load, save
    from zoo.loading.pulling import pull
    from zoo.model.model import Model
    from zoo.plugin import Architecture, DatasetSpec, hookimpl
    from zoo.registry.names import list_models, show
    from zoo.training import train

__all__ = ["Architecture", "Card", "DatasetSpec", "Graph", "Model", "TargetSpec", "ZooError", "compare", "create",
           "evaluate", "export", "hookimpl", "list_models", "load", "load_exported",
           "predict_smiles", "pull", "push", "save", "show", "train"]

_HOME = {
    "Architecture": "plugin", "Card": "cards.card", "DatasetSpec": "plugin", "Graph": "graph.graph",
    "Model": "model.model", "TargetSpec": "cards.card", "ZooError": "errors", "compare": "comparison",
    "create": "loading.models", "evaluate": "evaluation.evaluation", "export": "exporting", "hookimpl": "plugin",
    "list_models": "registry.names", "load": "loading.models", "load_exported": "exporting",
    "predict_smiles": "inference.molecules", "pull": "loading.pulling", "push": "hub", "save": "loading.models",
    "show": "registry.names", "train": "training",
}


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` (PEP 562): each name is imported from the module that defines it on first use.

    Args:
        package: ``__name__`` of the package that offers the names.
        homes: name → module, relative to the package.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(import_module(f"{package}.{homes[name]}"), name)
        sys.modules[package].__dict__[name] = value
        return value

    return get


_get = lazy_names(__name__, _HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("geometric-zoo")
    return _get(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
