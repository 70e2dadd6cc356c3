"""Applying a model to structures: prediction, a potential for simulations, calculators for ASE and TorchSim.

Start with ``prediction.py`` (energies and other targets of many structures) and ``potential.py`` (energies and forces
of one batch that moves); ``molecules.py`` predicts from SMILES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.inference.calculator import ZooCalculator
    from zoo.inference.model_spread import Agreement, committee
    from zoo.inference.molecules import predict_smiles
    from zoo.inference.potential import Potential
    from zoo.inference.prediction import predict
    from zoo.inference.torchsim import ZooTorchSim

__all__ = ["Agreement", "Potential", "ZooCalculator", "ZooTorchSim", "committee", "predict", "predict_smiles"]

__getattr__ = lazy_names(__name__, {
    "Agreement": "model_spread", "Potential": "potential", "ZooCalculator": "calculator", "ZooTorchSim": "torchsim",
    "committee": "model_spread", "predict": "prediction", "predict_smiles": "molecules",
})
