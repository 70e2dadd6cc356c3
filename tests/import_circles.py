"""Circles of imports among the files of `zoo` and `zoo_plugins`, wherever Python finds them: one line a circle.

    python tests/import_circles.py

Imports for type checkers only do not count, and neither does the one door: a model imports its room when it is called.
"""

from __future__ import annotations

import sys

import grimp
import networkx

DOOR = [("zoo.model.model", room) for room in ("zoo.inference", "zoo.loading", "zoo.simulation")]


def circles() -> list[list[str]]:
    """Modules that reach each other, each as importer or as imported; a package counts as its ``__init__`` only."""
    graph = grimp.build_graph("zoo", "zoo_plugins", exclude_type_checking_imports=True, cache_dir=None)
    edges = {(importer, imported) for importer in graph.modules
             for imported in graph.find_modules_directly_imported_by(importer)}
    found = networkx.strongly_connected_components(networkx.DiGraph(sorted(edges - set(DOOR))))
    return sorted(sorted(circle) for circle in found if len(circle) > 1)


if __name__ == "__main__":
    for circle in circles():
        print(*circle)
    sys.exit(bool(circles()))
