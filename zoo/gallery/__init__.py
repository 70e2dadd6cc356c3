"""`zoo gallery`: a folder of static pages made from the cards of all registries.

Start with ``site.py``, which writes the folder; ``items.py`` says what is told of a model, ``pages/`` how it looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.gallery.site import write_gallery

__all__ = ["write_gallery"]

__getattr__ = lazy_names(__name__, {"write_gallery": "site"})
