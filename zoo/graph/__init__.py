"""A batch of structures as flat tensors, its edges (all periodic images, sorted by target), angles and torsions.

Start with :class:`Graph` in ``graph.py``. A backbone reads the fields of a graph and derives the rest with functions
that take it; each result is computed once per graph and kept in it:

* :func:`reverse_edges` — (E,) index of the opposite edge i→j of each edge j→i;
* :func:`edges_within` — the edges shorter than a cut-off;
* :func:`triplets`, :func:`quadruplets` — index lists of angles k→j→i and torsions c→a–b←d;
* :func:`neighbor_tables`, :func:`torsion_tables` — the same as dense tables of the edges that meet in each atom, for
  sums over angles and torsions as batched matrix products.

``Graph.memoize(key, make)`` keeps a plugin's own derived quantities in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.graph.graph import Graph
    from zoo.graph.index_lists import quadruplets, triplets
    from zoo.graph.neighbors import add_edges, edge_vectors, edges_within, reverse_edges
    from zoo.graph.tabulate import neighbor_tables, torsion_tables
    from zoo.graph.verlet import VerletList

__all__ = [
    "Graph",
    "VerletList",
    "add_edges",
    "edge_vectors",
    "edges_within",
    "neighbor_tables",
    "quadruplets",
    "reverse_edges",
    "torsion_tables",
    "triplets",
]

__getattr__ = lazy_names(__name__, {
    "Graph": "graph", "VerletList": "verlet", "add_edges": "neighbors", "edge_vectors": "neighbors",
    "edges_within": "neighbors", "neighbor_tables": "tabulate", "quadruplets": "index_lists",
    "reverse_edges": "neighbors", "torsion_tables": "tabulate", "triplets": "index_lists",
})
