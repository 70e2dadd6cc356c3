"""The parts of a card, each a checked section."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, field_validator, model_validator

from zoo.cards.section import Section
from zoo.elements import NUMBERS
from zoo.errors import DataError, did_you_mean
from zoo.units import canonical

__all__ = ["Breakdown", "Calibration", "Data", "Domain", "Exemption", "Metric", "Name", "Priors", "ReferenceOutputs",
           "References", "Requires", "Split", "Structure", "TargetName", "TargetSpec", "Texts", "Training",
           "Uncertainty", "Unit", "Weights"]


def _unit(text: str) -> str:
    try:
        return canonical(text)
    except DataError as error:
        raise ValueError(str(error)) from None


def _symbol(text: str) -> str:
    if NUMBERS.get(text, 0) == 0:
        raise ValueError(f"'{text}' is no chemical symbol{did_you_mean(text, NUMBERS)}")
    return text


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _file_name(text: str) -> str:
    if text in ("", ".", "..") or re.search(r"[\\/:\0]", text):
        raise ValueError(f"'{text}' is no plain file name; the file lies beside the card")
    return text


Unit = Annotated[str, AfterValidator(_unit)]
Symbol = Annotated[str, AfterValidator(_symbol)]
Texts = Annotated[list[str], BeforeValidator(_one_or_many)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=96)]
TargetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ReferenceKind = Literal["atomization", "isolated", "fitted"]


class TargetSpec(Section):
    """One predicted property.

    ``reference`` says which per-element energies are added back to the network's sum: ``atomization`` (free atoms at
    the labels' level of theory: the network predicts an atomization energy), ``isolated`` (energies of isolated atoms
    given with the data), ``fitted`` (least squares on the training set), or ``none``. ``hidden``, ``activation`` and
    ``bias`` describe the head; absent ones follow the architecture. ``options`` are further keywords of the readout.
    """

    readout: str
    unit: Unit
    reference: ReferenceKind | Literal["none"] = "none"
    hidden: list[Annotated[int, Field(ge=1)]] | None = None
    activation: str | None = None
    bias: bool | None = None
    options: dict[str, Any] = {}
    description: str | None = None

    def head(self, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Keywords of the readout: ``defaults`` of the architecture, then what this card says."""
        own = {k: v for k in ("hidden", "activation", "bias") if (v := getattr(self, k)) is not None}
        return {**(defaults or {}), **own, **self.options}


class References(Section):
    """What is added back to one extensive target: its value per element, and where the values come from."""

    kind: ReferenceKind
    unit: Unit
    values: dict[Symbol, float]
    source: str | None = None


class ZBLPrior(Section):
    """Repulsion of nuclei, see :class:`zoo.model.priors.ZBL`; ``reach`` and ``core`` in sums of covalent radii."""

    reach: float = Field(1.0, gt=0, le=2)
    core: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _core_repels(self) -> ZBLPrior:
        if self.core is not None and self.core >= self.reach:
            raise ValueError(f"core {self.core:g} must be less than reach {self.reach:g}: nothing would repel atoms "
                             "that the network no longer tells apart")
        return self


class Priors(Section):
    """Known physics that is added to the energy; the network is trained on the rest."""

    zbl: ZBLPrior | None = None

    def given(self) -> list[tuple[str, dict[str, Any]]]:
        """Name and settings of every prior that the card declares."""
        fields = [(name, getattr(self, name)) for name in type(self).model_fields]
        return [(name, {key: getattr(prior, key) for key in type(prior).model_fields})
                for name, prior in fields if prior is not None]


class Domain(Section):
    """What the model may be asked about. ``null`` for charge or spin: not restricted, and not seen by the model.

    ``bonds`` (shortest and longest of each kind, Å) and ``max_force`` (eV/Å) say how far the training data reach.
    """

    elements: list[Symbol] = []
    pbc: bool = False
    charge: int | list[int] | None = 0
    spin: int | list[int] | None = 0
    reach: str | None = None
    bonds: dict[str, list[float]] = {}
    max_force: float | None = Field(None, gt=0)

    @field_validator("bonds")
    @classmethod
    def _bonds_are_ranges(cls, bonds: dict[str, list[float]]) -> dict[str, list[float]]:
        for kind, span in bonds.items():
            for symbol in kind.split("-"):
                _symbol(symbol)
            if kind.count("-") != 1 or list(kind.split("-")) != sorted(kind.split("-")):
                raise ValueError(f"'{kind}' is no kind of bond: expected two symbols in alphabetical order, as in C-H")
            if len(span) != 2 or not 0 < span[0] <= span[1]:
                raise ValueError(f"{kind}: {span} is not [shortest, longest] in Å")
        return bonds

    @field_validator("elements")
    @classmethod
    def _each_once(cls, elements: list[str]) -> list[str]:
        twice = sorted({e for e in elements if elements.count(e) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return elements


class Split(Section):
    """Which structures train, validate and test: a file of ids by its hash, and the three counts."""

    file: str | None = None
    sha256: Sha256 | None = None
    train: int | None = Field(None, ge=0)
    val: int | None = Field(None, ge=0)
    test: int | None = Field(None, ge=0)
    seed: int | None = None


class Data(Section):
    """What the model was, or is to be, trained on. ``keys`` maps a target to its name in the files,
    ``units`` to the unit it has there; some structures may lack the ``optional`` ones. ``source`` is where anybody gets
    the ``files``, here with their hashes."""

    dataset: str | None = None
    path: str | None = None
    source: str | None = None
    files: dict[str, Sha256] = {}
    keys: dict[str, str] = {}
    units: dict[str, Unit] = {}
    optional: list[str] = []
    split: Split | None = None
    theory: str | None = None
    citation: Texts = []


class Requires(Section):
    """Version of the zoo, and the package to install when the architecture is missing."""

    zoo: str | None = None
    plugin: str | None = None


class Weights(Section):
    """The weights file beside the card."""

    file: Annotated[str, AfterValidator(_file_name)]
    sha256: Sha256
    bytes: int = Field(ge=0)
    parameters: int = Field(ge=0)
    dtype: Literal["float32", "float64"] | None = None


class Metric(Section):
    """One measured number; written by ``zoo evaluate``, never by hand. ``interval`` is its 95 % confidence interval."""

    split: str
    target: str
    metric: str
    value: float
    unit: Unit
    n: int = Field(ge=1)
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    by: str
    date: str
    device: str | None = None
    commit: str | None = None


class Training(Section):
    """How the run went; ``earlier_hours`` are those of the runs whose weights it started from."""

    device: str | None = None
    hours: float | None = Field(None, ge=0)
    earlier_hours: float | None = Field(None, ge=0)
    epochs_done: float | None = Field(None, ge=0)
    steps_done: int | None = Field(None, ge=0)
    molecules_per_second: float | None = Field(None, ge=0)
    best_validation: dict[str, float] = {}
    commit: str | None = None
    date: str | None = None
    versions: dict[str, str] = {}

    @property
    def all_hours(self) -> float | None:
        """Of this run and of those before it."""
        return None if self.hours is None else self.hours + (self.earlier_hours or 0.0)


class Breakdown(Section):
    """Mean absolute errors of parts of a split; written by ``zoo evaluate``.

    ``by`` says what the ``groups`` are: numbers of heavy atoms, or an element that the structures contain. ``n``
    counts the structures of each group; ``mae`` has one value a group for every target, in the unit of its metric.
    """

    split: str
    by: Literal["heavy_atoms", "element"]
    groups: list[str]
    n: list[int]
    mae: dict[str, list[float | None]]

    @model_validator(mode="after")
    def _one_value_a_group(self) -> Breakdown:
        columns: dict[str, Sequence[float | None]] = {"n": self.n, **self.mae}
        for name, values in columns.items():
            if len(values) != len(self.groups):
                raise ValueError(f"{name}: {len(values)} values for {len(self.groups)} groups")
        return self


class Calibration(Section):
    """How intervals held on a split; written by ``zoo evaluate``.

    ``coverage``: share of errors within the interval. ``spearman``: rank correlation of its half-width with the
    absolute error. ``width``: median half-width, in the unit of the target's metric. ``outside``: share of the
    structures that were flagged.
    """

    split: str
    n: int = Field(ge=1)
    coverage: dict[str, float]
    spearman: dict[str, float]
    width: dict[str, float]
    outside: float = Field(ge=0, le=1)
    date: str


class Uncertainty(Section):
    """The error model beside the weights, and the sha256 of the ``weights`` that it was fitted to; by
    ``zoo calibrate``. ``train`` and ``val`` count the structures it was fitted on."""

    file: Annotated[str, AfterValidator(_file_name)]
    sha256: Sha256
    bytes: int = Field(ge=0)
    weights: Sha256
    level: float = Field(gt=0, lt=1)
    train: int = Field(ge=0)
    val: int = Field(ge=0)
    date: str
    measured: list[Calibration] = []


class Structure(Section):
    """A structure in full: symbols, positions in Å, and the optional inputs of a graph."""

    symbols: list[Symbol]
    positions: list[Annotated[list[float], Field(min_length=3, max_length=3)]]
    cell: list[list[float]] | None = None
    pbc: list[bool] | None = None
    charge: float | None = None
    spin: float | None = None

    @model_validator(mode="after")
    def _one_position_each(self) -> Structure:
        if len(self.symbols) != len(self.positions):
            raise ValueError(f"{len(self.symbols)} symbols, but {len(self.positions)} positions")
        return self


class ReferenceOutputs(Section):
    """Outputs recorded when the model was released. ``structure`` is a name of ``ase.build.molecule`` or in full."""

    structure: str | Structure
    dtype: Literal["float32", "float64"]
    outputs: dict[str, float | list[Any]]
    atol: float = Field(gt=0)
    rtol: float = Field(0.0, ge=0)


class Exemption(Section):
    """A conformance check this model does not claim to pass, and why."""

    check: str
    reason: str = Field(min_length=1)
