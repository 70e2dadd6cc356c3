"""Error estimates: a calibrated interval for every value, and a flag for structures out of distribution.

An error model is fitted to a trained model by :func:`zoo.uncertainty.calibrate.calibrate` and stored next to the
weights in ``uncertainty.safetensors``. Its inputs are the features of the model's own forward pass, so an estimate
needs no second one. Start with ``error_model.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.uncertainty.descriptors import Description, describe
    from zoo.uncertainty.error_model import FILE, ErrorModel, Estimate
    from zoo.uncertainty.lookup import find, stale
    from zoo.uncertainty.metrics import interval_metrics, spearman

__all__ = ["FILE", "Description", "ErrorModel", "Estimate", "describe", "find", "interval_metrics",
           "spearman", "stale"]

__getattr__ = lazy_names(__name__, {
    "FILE": "error_model", "Description": "descriptors", "ErrorModel": "error_model", "Estimate": "error_model",
    "describe": "descriptors", "find": "lookup", "interval_metrics": "metrics",
    "spearman": "metrics", "stale": "lookup"})
