"""A card folder: the card with its sections, and its weights on disk (safetensors, checked by sha256). Torch-free.

Start with ``card.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.cards.card import Card
    from zoo.cards.sections import TargetSpec

__all__ = ["Card", "TargetSpec"]

__getattr__ = lazy_names(__name__, {"Card": "card", "TargetSpec": "sections"})
