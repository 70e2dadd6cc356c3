"""Metrics of a model on a split, and leaderboards that compare models by their cards. Start with ``evaluation.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.evaluation.evaluation import evaluate
    from zoo.evaluation.leaderboard import boards

__all__ = ["boards", "evaluate"]

__getattr__ = lazy_names(__name__, {"boards": "leaderboard", "evaluate": "evaluation"})
