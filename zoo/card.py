"""The card: one YAML file that says what a model is, how it was trained, how well it does, and its weights' hash."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from zoo.card_section import Section, explain
from zoo.elements import NUMBERS
from zoo.errors import CardError, DataError
from zoo.suggest import did_you_mean
from zoo.units import canonical
from zoo.yaml_loader import Document, load_yaml, parse_yaml
from zoo.yaml_writer import dump_yaml, write_text

__all__ = ["DERIVATIVES", "SCHEMA", "UPGRADES", "Card", "Data", "Domain", "Exemption", "Golden", "Metric", "References",
           "Requires", "Split", "Structure", "TargetSpec", "Training", "Weights"]

SCHEMA = 1
"""Version of the card's schema that this zoo writes."""

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""How to turn plain data of schema n into schema n + 1; schema 1 is the first."""

CARD_FILE = "card.yaml"

DERIVATIVES = {"forces": "eV/Å", "stress": "eV/Å^3"}
"""What follows from the energy by differentiation, with its unit."""


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


class Domain(Section):
    """What the model may be asked about. ``null`` for charge or spin: not restricted, and not seen by the model."""

    elements: list[Symbol] = []
    pbc: bool = False
    charge: int | list[int] | None = 0
    spin: int | list[int] | None = 0
    reach: str | None = None

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
    """What the model was, or is to be, trained on. ``keys`` maps a target to its name in the files."""

    dataset: str | None = None
    path: str | None = None
    keys: dict[str, str] = {}
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


class Training(Section):
    """How the run went."""

    device: str | None = None
    hours: float | None = Field(None, ge=0)
    epochs_done: float | None = Field(None, ge=0)
    steps_done: int | None = Field(None, ge=0)
    molecules_per_second: float | None = Field(None, ge=0)
    best_validation: dict[str, float] = {}
    commit: str | None = None
    date: str | None = None
    versions: dict[str, str] = {}


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


class Golden(Section):
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


class Card(Section):
    """A model's card. Read with :meth:`load`, written with :meth:`save`; unknown keys other than ``x-…`` are errors."""

    schema_version: int = Field(SCHEMA, alias="schema")
    name: Name
    summary: str = ""
    architecture: str
    config: dict[str, Any] = {}
    format: int = Field(1, ge=1)
    requires: Requires = Requires()
    inputs: list[Literal["charge", "spin", "node_attrs", "node_vectors", "edge_attrs"]] = []
    signature: dict[str, Any] = {}
    targets: dict[TargetName, TargetSpec] = Field(min_length=1)
    derivatives: list[Literal["forces", "stress"]] = []
    references: dict[TargetName, References] = {}
    domain: Domain = Domain()
    data: Data = Data()
    recipe: dict[str, Any] = {}
    weights: Weights | None = None
    metrics: list[Metric] = []
    training: Training = Training()
    golden: list[Golden] = []
    uncertainty: str | dict[str, Any] | None = None
    stability: str | dict[str, Any] | None = None
    exemptions: list[Exemption] = []
    notes: str | None = None
    license: str | None = None
    data_license: str | None = None
    citation: Texts = []
    limits: str | None = None

    _document: Document = PrivateAttr(default_factory=lambda: Document(None))
    _path: Path | None = PrivateAttr(default=None)

    # -- consistency --------------------------------------------------------------------------------------------

    @field_validator("targets")
    @classmethod
    def _derivatives_are_no_targets(cls, targets: dict[str, TargetSpec]) -> dict[str, TargetSpec]:
        for name in DERIVATIVES:
            if name in targets:
                raise ValueError(f"'{name}' is the derivative of an energy and no target of its own: "
                                 f"write 'derivatives: [{name}]' beside the targets")
        return targets

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        for name, references in self.references.items():
            if name not in self.targets:
                raise ValueError(f"references.{name}: '{name}' is no target{did_you_mean(name, self.targets)}")
            if references.kind != self.targets[name].reference:
                raise ValueError(f"references.{name}: kind is '{references.kind}', but targets.{name}.reference is "
                                 f"'{self.targets[name].reference}'")
            lacking = [e for e in self.domain.elements if e not in references.values]
            if lacking:
                raise ValueError(f"references.{name}: no value for {', '.join(lacking)}, which domain.elements names")
            if not all(map(math.isfinite, references.values.values())):
                raise ValueError(f"references.{name}: a value is not finite")
        if self.weights is not None:
            for name, target in self.targets.items():
                if target.reference != "none" and name not in self.references:
                    raise ValueError(f"targets.{name} has reference '{target.reference}' and there are weights, but "
                                     f"references.{name} is missing")
        known = [*self.targets, *DERIVATIVES]
        for number, metric in enumerate(self.metrics):
            if metric.target not in known:
                raise ValueError(f"metrics[{number}]: '{metric.target}' is no target"
                                 f"{did_you_mean(metric.target, known)}")
        return self

    # -- in -----------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: Path | str) -> Card:
        """Read a card file, or the ``card.yaml`` of a folder.

        Raises:
            CardError: no such file, not the strict YAML of :mod:`zoo.yaml_loader`, an unknown key, a value of the
                wrong kind, or a newer schema; every problem with its line.
        """
        path = Path(path)
        if path.is_dir():
            path = path / CARD_FILE
        card = cls._from_document(load_yaml(path))
        card._path = path
        return card

    @classmethod
    def from_text(cls, text: str, source: str = "<text>") -> Card:
        """Read a card from text; ``source`` is what errors call it. Raises as :meth:`load`."""
        return cls._from_document(parse_yaml(text, source))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str = "<card>") -> Card:
        """A card from plain data, keys as in the file. Raises as :meth:`load`."""
        return cls._from_document(Document(dict(data), source=source))

    @classmethod
    def _from_document(cls, document: Document) -> Card:
        if not isinstance(document.data, dict):
            raise CardError(f"{document.source}: is no card: expected keys such as 'schema: {SCHEMA}' and 'name: …'")
        data = upgrade(document.data, document.where("schema"))
        try:
            card = cls.model_validate(data)
        except ValidationError as error:
            raise CardError(explain(error, document)) from None
        card._document = document
        return card

    def __eq__(self, other: object) -> bool:
        """Same content; where a card was read from does not count."""
        return isinstance(other, Card) and self.to_dict() == other.to_dict()

    # -- where --------------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path | None:
        """The file this card was read from or saved to."""
        return self._path

    @property
    def folder(self) -> Path | None:
        """Where the card and its weights lie."""
        return None if self._path is None else self._path.parent

    def where(self, *place: str | int) -> str:
        """``"cards/x/card.yaml:12: config.cuttof"``, for errors about a value of this card."""
        return self._document.where(*place)

    # -- out ----------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what was set, keys as in the file and in the order of the schema."""
        data = self.model_dump(by_alias=True, exclude_unset=True)
        return {"schema": self.schema_version, **{key: value for key, value in data.items() if key != "schema"}}

    def dump(self) -> str:
        """The card as YAML; reading it back gives an equal card. Comments at the head of the file are kept."""
        return _head_comment(self._document.text) + dump_yaml(self.to_dict())

    def save(self, path: Path | str) -> Path:
        """Write the card to a file, or as ``card.yaml`` into a folder; it appears whole or not at all."""
        path = Path(path)
        if path.suffix not in (".yaml", ".yml"):
            path = path / CARD_FILE
        write_text(path, self.dump())
        self._path = path
        return path

    def replace(self, **changes: Any) -> Card:
        """A checked copy with some top-level keys changed; values are sections or plain data, ``None`` removes.

        Raises:
            CardError: the result is no valid card.
        """
        data = self.to_dict()
        for key, value in changes.items():
            if value is None:
                data.pop(key, None)
            else:
                data[key] = _plain(value)
        card = type(self)._from_document(Document(data, {}, self._document.source, self._document.text))
        card._path = self._path
        return card

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """JSON schema of a card, for editors."""
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **cls.model_json_schema(by_alias=True)}


def upgrade(data: dict[str, Any], where: str, *, upgrades: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]
            = UPGRADES, current: int = SCHEMA) -> dict[str, Any]:
    """Plain data of any older schema as data of the current one.

    Raises:
        CardError: no schema is named, it is newer than this zoo, or too old to be upgraded.
    """
    version = data.get("schema")
    if type(version) is not int:
        found = "no 'schema'" if version is None else f"schema: {version!r}"
        raise CardError(f"{where}: {found}, expected a whole number: write 'schema: {current}'")
    if version > current:
        raise CardError(f"{where}: written for schema {version}, this zoo knows up to {current}: "
                        f"pip install -U geometric-zoo")
    while version < current:
        if version not in upgrades:
            raise CardError(f"{where}: schema {version} is unknown; the present one is {current}")
        data = {**upgrades[version](dict(data)), "schema": version + 1}
        version += 1
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump(by_alias=True, exclude_unset=True)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [_plain(inner) for inner in value]
    return value


def _head_comment(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        lines.append(line)
    head = "\n".join(lines).strip()
    return f"{head}\n" if head else ""
