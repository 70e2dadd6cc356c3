"""The Hub: fetch, push, pin. Nothing here imports torch, and the client is imported when it is used.

A card folder becomes a repository. Users call ``pull`` and ``push``; loading calls ``fetch``.

Start with ``pulling.py`` and ``pushing.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.hub.address import Address
    from zoo.hub.fetching import Fetched, card_of, fetch
    from zoo.hub.pulling import Pulled, pull
    from zoo.hub.pushing import Pushed
    from zoo.hub.release import publish, push

__all__ = ["Address", "Fetched", "Pulled", "Pushed", "card_of", "fetch", "publish", "pull", "push"]

__getattr__ = lazy_names(__name__, {
    "Address": "address", "Fetched": "fetching", "card_of": "fetching", "fetch": "fetching", "Pulled": "pulling",
    "pull": "pulling", "Pushed": "pushing", "publish": "release", "push": "release",
})
