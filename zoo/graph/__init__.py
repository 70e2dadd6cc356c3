"""A batch of structures as flat tensors, its edges (all periodic images, sorted by target), angles and torsions.

Start with ``graph.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.graph.angular import junctions, neighbourhoods, quadruplets, triplets
    from zoo.graph.graph import Graph
    from zoo.graph.neighbors import add_edges, edge_vectors
    from zoo.graph.verlet import VerletList

__all__ = ["Graph", "VerletList", "add_edges", "edge_vectors", "junctions", "neighbourhoods", "quadruplets", "triplets"]

__getattr__ = lazy_names(__name__, {
    "Graph": "graph", "VerletList": "verlet", "add_edges": "neighbors", "edge_vectors": "neighbors",
    "junctions": "angular", "neighbourhoods": "angular", "quadruplets": "angular", "triplets": "angular",
})
