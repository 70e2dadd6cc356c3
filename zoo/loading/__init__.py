"""From a name to a model: name → card → weights → Model; create, save and import; reference outputs.

Start with ``models.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.loading.building import build
    from zoo.loading.importing import import_model
    from zoo.loading.models import create, load, save
    from zoo.loading.pretrained import from_pretrained, push_to_hub
    from zoo.loading.resolution import resolve

__all__ = ["build", "create", "from_pretrained", "import_model", "load", "push_to_hub", "resolve", "save"]

__getattr__ = lazy_names(__name__, {
    "build": "building", "create": "models", "import_model": "importing", "load": "models", "resolve": "resolution",
    "from_pretrained": "pretrained", "push_to_hub": "pretrained", "save": "models",
})
