"""Layers shared by several backbones. All work on graphs without edges and are twice differentiable.

Start with ``scalar_vector.py``, a layer made of the other parts.
"""

from zoo.graph.tracing import is_recorded, is_traced
from zoo.nn.activations import (
    ScaledSiLU,
    ShiftedSoftplus,
    SiLU,
    activation,
    shifted_softplus,
    silu,
)
from zoo.nn.adjacency import CSRAdjacency, EdgeBlock, Pairs, edge_pairs, pairs
from zoo.nn.dense_layers import MLP, dense
from zoo.nn.fused.blockwise import blockwise
from zoo.nn.fused.neighbor_sums import Filtered, FilteredSum, sum_runs
from zoo.nn.fused.operation import FusedOperation, Use, force
from zoo.nn.fused.outer_sum import OuterSum, RowSum
from zoo.nn.fused.radial_table import RadialTable, in_double
from zoo.nn.fused.recomputed import Recomputed
from zoo.nn.fused.scratch import Scratch
from zoo.nn.fused.table_sum import TableSum
from zoo.nn.fused.torch_kernels import leads_on
from zoo.nn.radial import BesselBasis, CosineCutoff, GaussianBasis, PolynomialEnvelope
from zoo.nn.scalar_vector import ScalarVectorLayer, safe_norm
from zoo.nn.scatter import gather, sum_by

__all__ = [
    "MLP",
    "BesselBasis",
    "CSRAdjacency",
    "CosineCutoff",
    "EdgeBlock",
    "Filtered",
    "FilteredSum",
    "FusedOperation",
    "GaussianBasis",
    "OuterSum",
    "Pairs",
    "PolynomialEnvelope",
    "RadialTable",
    "Recomputed",
    "RowSum",
    "ScalarVectorLayer",
    "ScaledSiLU",
    "Scratch",
    "ShiftedSoftplus",
    "SiLU",
    "TableSum",
    "Use",
    "activation",
    "blockwise",
    "dense",
    "edge_pairs",
    "force",
    "gather",
    "in_double",
    "is_recorded",
    "is_traced",
    "leads_on",
    "pairs",
    "safe_norm",
    "shifted_softplus",
    "silu",
    "sum_by",
    "sum_runs",
]
