"""The feature layout declared by a backbone's ``irreps_out`` string, without a dependency on e3nn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from zoo.errors import PluginError

__all__ = ["FeatureLayout", "FeatureTerm"]

_TERM = re.compile(r"^(?:(\d+)x)?(\d+)([eo])$")


@dataclass(frozen=True)
class FeatureTerm:
    """``mul`` copies of the irrep of degree ``l`` and parity ``p`` (±1), at columns ``start:stop``."""

    mul: int
    l: int
    p: int
    start: int

    @property
    def stop(self) -> int:
        return self.start + self.mul * (2 * self.l + 1)


@dataclass(frozen=True)
class FeatureLayout:
    """Columns of (N, dim) features in e3nn's order: terms one after the other, each (mul, 2l + 1) flattened.

    Raises:
        PluginError: the string is not of the form ``"128x0e+64x1o"``.
    """

    irreps: str

    @cached_property
    def terms(self) -> tuple[FeatureTerm, ...]:
        terms, start = [], 0
        for text in self.irreps.replace(" ", "").split("+"):
            match = _TERM.match(text)
            if match is None:
                raise PluginError(f"irreps_out = {self.irreps!r}: cannot read {text!r}. "
                                  "Fix: write terms like '128x0e+64x1o'")
            mul, l, parity = match.groups()
            terms.append(FeatureTerm(int(mul or 1), int(l), 1 if parity == "e" else -1, start))
            start = terms[-1].stop
        return tuple(terms)

    @property
    def dim(self) -> int:
        return self.terms[-1].stop

    def count(self, l: int, p: int) -> int:
        """Number of channels of one irrep."""
        return sum(t.mul for t in self.terms if (t.l, t.p) == (l, p))

    def scalars(self, h: Tensor) -> Tensor:
        """The 0e channels of features (N, dim), as (N, count)."""
        return self._columns(h, 0, 1)

    def vectors(self, h: Tensor) -> Tensor:
        """The 1o channels of features (N, dim), as (N, count, 3) in x, y, z."""
        return self._columns(h, 1, -1).unflatten(1, (-1, 3))

    def channels(self, h: Tensor, l: int, p: int) -> Tensor:
        """The channels of one irrep of features (N, dim), as (N, count, 2l + 1) in e3nn's order."""
        return self._columns(h, l, p).unflatten(1, (-1, 2 * l + 1))

    def _columns(self, h: Tensor, l: int, p: int) -> Tensor:
        parts = [h[:, t.start : t.stop] for t in self.terms if (t.l, t.p) == (l, p)]
        return parts[0] if len(parts) == 1 else torch.cat([*parts, h[:, :0]], 1)
