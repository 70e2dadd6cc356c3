"""Fully connected blocks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from zoo.nn.activations import activation as make_activation

__all__ = ["MLP", "dense"]


def dense(n_in: int, n_out: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer with Glorot-uniform weights and zero bias, as in SchNet and PaiNN."""
    layer = nn.Linear(n_in, n_out, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class MLP(nn.Sequential):
    """Dense layers of the given ``widths`` with an activation between them (and after the last one if asked).

    Maps (…, widths[0]) to (…, widths[-1]); ``activation`` is a name of :func:`zoo.nn.activations.activation`.
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: str = "silu",
        *,
        bias: bool = True,
        last_bias: bool = True,
        activate_last: bool = False,
    ) -> None:
        layers: list[nn.Module] = []
        last = len(widths) - 2
        for k in range(last + 1):
            layers.append(dense(widths[k], widths[k + 1], bias=bias if k < last else bias and last_bias))
            if k < last or activate_last:
                layers.append(make_activation(activation))
        super().__init__(*layers)
