"""The card: one YAML file that says what a model is, how it was trained, how well it does, and its weights' hash."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PrivateAttr, Tag, ValidationError, field_validator, model_validator

from zoo.cards.measured import Breakdown, Exemption, Metric, ReferenceOutputs, Uncertainty
from zoo.cards.schema import SCHEMA, upgrade
from zoo.cards.section import Section, explain, problem
from zoo.cards.sections import (
    Data,
    Domain,
    Priors,
    References,
    Requires,
    TargetSpec,
    Training,
    Weights,
)
from zoo.cards.source import Source
from zoo.cards.values import DERIVATIVES, Name, TargetName, Texts
from zoo.errors import CardError, WeightsError
from zoo.files.atomic_writes import write_text
from zoo.files.yaml_loader import Document, load_yaml, parse_yaml
from zoo.files.yaml_writer import dump_yaml

__all__ = ["CARD_FILE", "DERIVATIVES", "Card"]

CARD_FILE = "card.yaml"


def _text_or_section(value: Any) -> str:
    # With a plain union, every mistake in the section would be reported a second time, as not being text.
    return "text" if isinstance(value, str) else "section"


class Card(Section):
    """A model's card. Read with :meth:`load`, written with :meth:`save`; unknown keys other than ``x-…`` are errors."""

    schema_version: int = Field(SCHEMA, alias="schema", description="Version of this schema.")
    name: Name = Field(description="Name of the model, which is unique in the zoo.")
    summary: str = Field("", description="One line for lists.")
    architecture: str = Field(description="Name of the architecture, as `zoo plugins` lists it.")
    config: dict[str, Any] = Field({}, description="Keywords of the architecture's constructor.")
    format: int = Field(
        1, ge=1, description="Version of the architecture's state dict that the weights were saved with.")
    requires: Requires = Field(default_factory=Requires, description="Packages that loading needs.")
    inputs: list[Literal["charge", "spin", "node_attrs", "node_vectors", "edge_attrs"]] = Field(
        [], description="Optional fields of a graph that the network reads.")
    signature: dict[str, Any] = Field(
        {}, description="Properties of the architecture that `zoo check` verifies, such as body order and parity.")
    targets: dict[TargetName, TargetSpec] = Field(min_length=1, description="What the model predicts, by name.")
    derivatives: list[Literal["forces", "stress"]] = Field(
        [], description="Derivatives of the energy that it was trained on.")
    references: dict[TargetName, References] = Field(
        {}, description="Energies per element that are added to a target, by target.")
    priors: Priors = Field(default_factory=Priors, description="Known physics that is added to the energy.")
    domain: Domain = Field(default_factory=Domain, description="Structures that the model is meant for.")
    data: Data = Field(default_factory=Data, description="The data it was, or is to be, trained on.")
    recipe: dict[str, Any] = Field({}, description="Settings of `zoo train`.")
    source: Source | None = Field(
        None, description="Another package's file that the weights are converted from; none are next to the card.")
    weights: Weights | None = Field(None, description="The file of weights; absent before training.")
    metrics: list[Metric] = Field([], description="Measured errors.")
    breakdown: list[Breakdown] = Field([], description="Errors of parts of a split.")
    training: Training = Field(default_factory=Training, description="How the training run went.")
    golden: list[ReferenceOutputs] = Field(
        [], description='Reference outputs, which `zoo.load` with `verify="golden"` reproduces.')
    uncertainty: (
        Annotated[Annotated[str, Tag("text")] | Annotated[Uncertainty, Tag("section")], Discriminator(_text_or_section)]
        | None
    ) = Field(None, description="The error model, or a remark about error estimates.")
    stability: str | dict[str, Any] | None = Field(
        None, description="Results of `zoo lab` tests of a force field, by test, or a remark.")
    exemptions: list[Exemption] = Field([], description="Conformance checks that the model is not expected to pass.")
    notes: str | None = Field(None, description="Anything else a user should know.")
    license: str | None = Field(None, description="License of the weights.")
    data_license: str | None = Field(None, description="License of the training data.")
    citation: Texts = Field([], description="Papers to cite.")
    limits: str | None = Field(None, description="Known limits of the model, in words.")

    _document: Document = PrivateAttr(default_factory=lambda: Document(None))
    _path: Path | None = PrivateAttr(default=None)

    # -- consistency --------------------------------------------------------------------------------------------

    @field_validator("targets")
    @classmethod
    def _derivatives_are_no_targets(cls, targets: dict[str, TargetSpec]) -> dict[str, TargetSpec]:
        for name in DERIVATIVES:
            if name in targets:
                raise problem(f"'{name}' is the derivative of an energy and no target of its own: write "
                              f"'derivatives: [{name}]' next to the targets", name)
        return targets

    @model_validator(mode="after")
    def _consistent(self) -> Card:
        for name, references in self.references.items():
            self._check_references(name, references)
        if self.weights_sha256 is not None:
            for name, target in self.targets.items():
                if target.reference != "none" and name not in self.references:
                    raise problem(f"reference is '{target.reference}' and there are weights, but no references.{name}",
                                  "targets", name)
        if self.source is not None and self.weights is not None and self.weights.sha256 != self.weights_sha256:
            raise problem("other weights than those that the source is converted to: remove 'source', or 'weights'",
                          "weights", "sha256")
        known = [*self.targets, *DERIVATIVES]
        for number, metric in enumerate(self.metrics):
            if metric.target not in known:
                raise problem(f"'{metric.target}' is no target of this card: {', '.join(known)}",
                              "metrics", number, "target")
        for number, part in enumerate(self.breakdown):
            for name in part.mae:
                if name not in known:
                    raise problem(f"'{name}' is no target of this card: {', '.join(known)}",
                                  "breakdown", number, "mae", name)
        return self

    def _check_references(self, name: str, references: References) -> None:
        if name not in self.targets:
            raise problem(f"'{name}' is no target of this card: {', '.join(self.targets)}", "references", name)
        wanted = self.targets[name].reference
        if references.kind != wanted:
            raise problem(f"'{references.kind}', but targets.{name}.reference is '{wanted}'",
                          "references", name, "kind")
        lacking = [e for e in self.domain.elements if e not in references.values]
        if lacking:
            raise problem(f"no value for {', '.join(lacking)}, which domain.elements names",
                          "references", name, "values")
        for symbol, value in references.values.items():
            if not math.isfinite(value):
                raise problem(f"{value} is not finite", "references", name, "values", symbol)

    # -- in -----------------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: Path | str) -> Card:
        """Read a card file, or the ``card.yaml`` of a folder.

        Raises:
            CardError: no such file, not the strict YAML of :mod:`zoo.files.yaml_loader`, an unknown key, a value of the
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
            raise CardError(f"{document.source}: is no card. "
                            f"Fix: give it keys such as 'schema: {SCHEMA}' and 'name: …'.")
        data = upgrade(document.data, document.where("schema"))
        try:
            card = cls.model_validate(data)
        except ValidationError as error:
            raise CardError(explain(error, document)) from None
        card._document = document
        return card

    def _repr_html_(self) -> str:
        from zoo.cards.card_html import card_html

        return card_html(self)

    def __eq__(self, other: object) -> bool:
        """Same content; the file does not count."""
        return isinstance(other, Card) and self.to_dict() == other.to_dict()

    # -- where --------------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path | None:
        """The file this card was read from or saved to."""
        return self._path

    @property
    def folder(self) -> Path | None:
        """The folder of the card and its weights."""
        return None if self._path is None else self._path.parent

    @property
    def weights_sha256(self) -> str | None:
        """Of the weights file beside the card, or of what its source is converted to; ``None`` without weights."""
        if self.source is not None:
            return self.source.converted_sha256
        return None if self.weights is None else self.weights.sha256

    @property
    def parameters(self) -> int | None:
        """Numbers in the weights; ``None`` without weights."""
        known = self.weights or self.source
        return None if known is None else known.parameters

    def weights_here(self) -> tuple[Path, Weights]:
        """The weights file next to the card, which need not exist, and what the card says about it.

        Raises:
            WeightsError: the card describes a model without weights, or with weights of another package.
        """
        if self.weights is None and self.source is not None:
            raise WeightsError(f"{self._path or self.name} holds no weights of its own: they are converted from "
                               f"{self.source.file}. Fix: zoo pull {self.name} --to FOLDER makes a folder that does.")
        if self.weights is None or self._path is None:
            where = self._path or self.name
            raise WeightsError(f"{where} describes a model without weights. Fix: train it with zoo train {where}.")
        return self._path.parent / self.weights.file, self.weights

    @property
    def document(self) -> Document:
        """The text, with the line of every key."""
        return self._document

    def where(self, *place: str | int) -> str:
        """``"cards/x/card.yaml:12: config.cuttof"``, for errors about a value of this card."""
        return self._document.where(*place)

    def reread(self) -> Card:
        """Read the file again, since other programs may have changed it during a long measurement.

        Raises:
            CardError: it was read from no file, or its weights were replaced since.
        """
        if self._path is None:
            raise CardError(f"{self.name} was read from no card folder. "
                            "Fix: load the model from a folder that can be written.")
        fresh = Card.load(self._path)
        if self.weights is not None and fresh.weights_sha256 != self.weights_sha256:
            raise CardError(f"{self._path}: its weights were replaced while they were measured, and nothing was "
                            "written. Fix: measure them again.")
        return fresh

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
        card = type(self)._from_document(self._document.changed(data))
        card._path = self._path
        return card

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """JSON schema of a card, for editors."""
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **cls.model_json_schema(by_alias=True)}


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
