"""A foreign state dict: read without running pickled code, taken apart key by key, nothing overlooked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.cards.weights import read_tensors
from zoo.errors import WeightsError
from zoo.foreign.inert import read_inert

__all__ = ["ForeignState", "Imported", "read", "read_state"]

_NESTED = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True, kw_only=True)
class Imported:
    """Foreign weights in the zoo's terms.

    Attributes:
        architecture: name of the zoo's architecture.
        config: keywords of its backbone.
        backbone: state dict of its backbone.
        head: (weight, bias or None) of the energy readout's linear layers.
        activation: between them.
        scale: of the network's energies per atom.
        shift: (K,) added per atom by atomic number, ``shift[z]``; or None.
        by_element: whether the backbone has weights per element of the domain, in its order, and takes ``elements``.
        element_shift: (n,) added per atom by place in that order; or None.
        elements: atomic numbers of the domain, in that order, where the file says them; the user does otherwise.
    """

    architecture: str
    config: dict[str, Any]
    backbone: dict[str, Tensor]
    head: Sequence[tuple[Tensor, Tensor | None]]
    activation: str = "silu"
    scale: float = 1.0
    shift: Tensor | None = None
    by_element: bool = False
    element_shift: Tensor | None = None
    elements: Sequence[int] | None = None


@dataclass
class ForeignState:
    """Tensors by foreign name, in float64, each to be taken once.

    Attributes:
        tensors: what has not been taken yet.
        given: configuration from the user, for what the file does not hold.
        kind: name of the importer, for errors.
        header: configuration that the file holds beside its tensors.
    """

    tensors: dict[str, Tensor]
    given: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""
    header: Mapping[str, Any] = field(default_factory=dict)

    def take(self, key: str, shape: Sequence[int] | None = None) -> Tensor:
        """Remove and return a tensor.

        Raises:
            WeightsError: it is not there, or its shape is not the one the configuration asks for.
        """
        if key not in self.tensors:
            some = ", ".join(list(self.tensors)[:4])
            raise WeightsError(f"no tensor '{key}' in what should be the weights of {self.kind}; there are: {some} … "
                               f"Fix: name the kind of these weights (zoo import --help lists them).")
        value = self.tensors.pop(key)
        if shape is not None and tuple(value.shape) != tuple(shape):
            raise WeightsError(f"{self.kind}: tensor '{key}' has shape {tuple(value.shape)}, expected {tuple(shape)}. "
                               "Fix: check what --set says.")
        return value

    def take_if_any(self, key: str) -> Tensor | None:
        return self.tensors.pop(key, None)

    def drop(self, pattern: str) -> None:
        """Forget tensors that the zoo derives itself; ``pattern`` is a regular expression for the whole key."""
        for key in [k for k in self.tensors if re.fullmatch(pattern, k)]:
            del self.tensors[key]

    def count(self, pattern: str) -> int:
        """1 + the largest number that the group of ``pattern`` matches at the start of a key; 0 without any."""
        found = [int(m.group(1)) for k in self.tensors if (m := re.match(pattern, k))]
        return 1 + max(found, default=-1)

    def strip(self, prefix: str) -> None:
        """Forget a prefix that checkpoints put before every name of the model."""
        self.tensors = {k.removeprefix(prefix): v for k, v in self.tensors.items()}

    def need(self, key: str, example: str) -> Any:
        """A configuration value that only the user knows."""
        if key not in self.given:
            raise WeightsError(f"the weights of {self.kind} do not say what '{key}' is. Fix: add --set {key}={example} "
                               "with the value they were trained with.")
        return self.given[key]

    def finish(self) -> None:
        """
        Raises:
            WeightsError: tensors are left over, so the map would lose something.
        """
        if self.tensors:
            listed = ", ".join(f"{k} {tuple(v.shape)}" for k, v in list(self.tensors.items())[:6])
            more = f" and {len(self.tensors) - 6} more" if len(self.tensors) > 6 else ""
            raise WeightsError(f"{self.kind}: nothing in the zoo corresponds to {listed}{more}. This is another model, "
                               "another version, or an option that the conversion does not cover. "
                               "Fix: import weights of the release named by zoo import --help.")


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """:func:`read_state` as the ``read`` of an :class:`zoo.foreign.Importer`: no configuration comes with it."""
    return read_state(path), {}


def read_state(path: Path) -> dict[str, Tensor]:
    """State dict from ``.safetensors``, or from a file of ``torch.save`` without running anything in it.

    A Lightning-like checkpoint may hold it under ``state_dict``.

    Raises:
        WeightsError: no such file, not a file of torch.save, or no tensors in it.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file. Fix: check the path.")
    if path.suffix == ".safetensors":
        return read_tensors(path)
    content = read_inert(path)
    while isinstance(content, Mapping):
        if content and all(isinstance(v, Tensor) for v in content.values()):
            return dict(content)
        nested = next((content[k] for k in _NESTED if isinstance(content.get(k), Mapping)), None)
        if nested is None:
            break
        content = nested
    raise WeightsError(f"{path}: no state dict found: expected tensors by name, or such a mapping "
                       "under 'state_dict'. Fix: save model.state_dict().")
