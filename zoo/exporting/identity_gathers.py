"""Removes gathers with the identity index 0, 1, 2, …, and their derivatives, from a recorded graph.

Quantities that the two directions of an edge share are computed once per pair and gathered for every edge. In a
recorded graph each edge is its own pair, so this index is 0, 1, 2, …. Removing the gather saves work and avoids an
error of torch 2.13's compiler: in a tiled loop that adds rows at an index known to be a range, it counts the offset of
the tile twice and writes outside of the result.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node

__all__ = ["remove_identity_gathers"]

_SAME = frozenset({
    torch.ops.aten.unsqueeze.default,
    torch.ops.aten.select.int,
    torch.ops.aten.view.default,
    torch.ops.aten.slice.Tensor,
    torch.ops.aten.alias.default,
    torch.ops.aten.detach.default,
    torch.ops.aten.clone.default,
})


def remove_identity_gathers(module: GraphModule) -> int:
    """Edit the graph in place; return the number of operations removed."""
    removed = 0
    for node in list(module.graph.nodes):
        replacement: Any = None
        if node.target is torch.ops.aten.index_select.default and node.args[1] == 0:
            if _counts_rows(node.args[2], node.args[0]):
                replacement = node.args[0]
        elif node.target is torch.ops.aten.index_add.default and node.args[1] == 0 and "alpha" not in node.kwargs:
            into, index, rows = node.args[0], node.args[2], node.args[3]
            is_zero = into.target in (torch.ops.aten.new_zeros.default, torch.ops.aten.zeros.default)
            if is_zero and _counts_rows(index, into):
                replacement = rows
        if replacement is not None:
            node.replace_all_uses_with(replacement)
            module.graph.erase_node(node)
            removed += 1
    module.graph.eliminate_dead_code()
    module.recompile()
    return removed


def _counts_rows(index: Node, rows: Node) -> bool:
    """Whether an index is 0, 1, … up to the number of rows."""
    length = index.meta["val"].shape[0]
    while index.target in _SAME:
        viewed = index.args[0]
        assert isinstance(viewed, Node)
        index = viewed
        if not _equal(index.meta["val"].numel(), length):
            return False
    if index.target not in (torch.ops.aten.arange.default, torch.ops.aten.arange.start):
        return False
    starts_at_zero = index.target is torch.ops.aten.arange.default or bool(index.args[0] == 0)
    return starts_at_zero and _equal(length, rows.meta["val"].shape[0])


def _equal(a: Any, b: Any) -> bool:
    """Whether two symbolic sizes are known to be equal, without adding a guard."""
    a, b = (x.node.expr if isinstance(x, torch.SymInt) else x for x in (a, b))
    return bool(a == b)
