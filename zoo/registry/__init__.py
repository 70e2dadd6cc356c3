"""Which plugins and models exist: plugins found and isolated, hooks, model names, ``registry.yaml``. Torch-free.

Start with ``names.py`` for models, ``sources.py`` for where their names come from, and ``host.py`` for plugins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.registry.names import list_models, show

__all__ = ["list_models", "show"]

__getattr__ = lazy_names(__name__, {"list_models": "names", "show": "names"})
