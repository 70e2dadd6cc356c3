"""What the backbones of several families share. Everything here runs with no edges, and differentiates twice."""

from zoo.nn.activation import ScaledSiLU, ShiftedSoftplus, activation, shifted_softplus
from zoo.nn.dense import MLP, dense
from zoo.nn.neighbour_sums import DirectedSum, Filtered, FilteredSum
from zoo.nn.pairs import Pairs, pairs
from zoo.nn.radial import BesselBasis, CosineCutoff, GaussianBasis, PolynomialEnvelope
from zoo.nn.scalar_vector import ScalarVectorLayer, safe_norm
from zoo.nn.scatter import gather, sum_by

__all__ = [
    "MLP",
    "BesselBasis",
    "CosineCutoff",
    "DirectedSum",
    "Filtered",
    "FilteredSum",
    "GaussianBasis",
    "Pairs",
    "PolynomialEnvelope",
    "ScalarVectorLayer",
    "ScaledSiLU",
    "ShiftedSoftplus",
    "activation",
    "dense",
    "gather",
    "pairs",
    "safe_norm",
    "shifted_softplus",
    "sum_by",
]
