"""People's structures in, numbers out: predict, a potential that keeps its edges, ASE, TorchSim.

Start with ``prediction.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.inference.calculator import ZooCalculator
    from zoo.inference.prediction import predict
    from zoo.inference.torchsim import ZooTorchSim

__all__ = ["ZooCalculator", "ZooTorchSim", "predict"]

__getattr__ = lazy_names(__name__, {"ZooCalculator": "calculator", "ZooTorchSim": "torchsim", "predict": "prediction"})
