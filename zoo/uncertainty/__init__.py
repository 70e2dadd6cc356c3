"""How far off a prediction may be: a calibrated interval for every value, and what lies outside the training data.

An error model is fitted to a trained model by :func:`zoo.uncertainty.calibrate.calibrate` and kept beside its weights
in ``uncertainty.safetensors``. It sees what the model itself computes, so an estimate costs no second forward pass.
"""

from zoo.uncertainty.describe import Description, Watch, describe
from zoo.uncertainty.error_model import FILE, ErrorModel, Estimate
from zoo.uncertainty.find import find, stale
from zoo.uncertainty.measure import interval_metrics, spearman

__all__ = ["FILE", "Description", "ErrorModel", "Estimate", "Watch", "describe", "find", "interval_metrics",
           "spearman", "stale"]
