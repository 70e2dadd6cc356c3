"""Functions that take the radial basis to zero at the cut-off."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from zoo.nn import PolynomialEnvelope
from zoo.plugin import ZooError

__all__ = ["CutoffFunction", "XPLORCutoff", "make_cutoff"]

CutoffFunction = Literal["polynomial", "xplor"]


class XPLORCutoff(nn.Module):
    """1 up to ``onset``, then (c² − d²)²(c² + 2d² − 3 onset²)/(c² − onset²)³, and 0 beyond the cut-off c.

    Only the first derivative is continuous, at the onset and at c. Maps (E,) distances in Å to (E,).
    """

    def __init__(self, cutoff: float, onset: float) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.onset = onset

    def forward(self, distance: Tensor) -> Tensor:
        c, on = self.cutoff**2, self.onset**2
        # Clamping to the interval leaves value and gradient of the constant parts right, without a mask.
        square = distance.clamp(self.onset, self.cutoff).square()
        return (c - square).square() * (c + 2 * square - 3 * on) / (c - on) ** 3


def make_cutoff(name: CutoffFunction, cutoff: float, *, p: int, onset: float | None) -> nn.Module:
    """
    Raises:
        ZooError: unknown name, or an onset that does not go with it.
    """
    if name not in ("polynomial", "xplor"):
        raise ZooError(f"cutoff_function = {name!r} is unknown. Fix: use polynomial or xplor")
    if name == "polynomial":
        if onset is not None:
            raise ZooError("the polynomial cut-off has no onset. Fix: leave out cutoff_onset, or use xplor")
        return PolynomialEnvelope(cutoff, p=p)
    if onset is None or not 0 < onset < cutoff:
        raise ZooError(f"cutoff_onset = {onset} of the xplor cut-off. Fix: set it between 0 and cutoff = {cutoff}")
    return XPLORCutoff(cutoff, onset)
