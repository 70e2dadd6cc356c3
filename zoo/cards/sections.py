"""Sections of a card that describe the model: targets, references, priors, domain, data, training, weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from zoo.cards.section import Section
from zoo.cards.values import FileName, ReferenceKind, Sha256, Symbol, Texts, Unit, check_symbol
from zoo.elements import NUMBERS

__all__ = ["Data", "Domain", "Priors", "References", "Requires", "Split", "TargetSpec", "Training", "Weights"]


class TargetSpec(Section):
    """One predicted property.

    ``reference`` says which per-element energies are added back to the network's sum: ``atomization`` (free atoms at
    the labels' level of theory: the network predicts an atomization energy), ``isolated`` (energies of isolated atoms
    given with the data), ``fitted`` (least squares on the training set), or ``none``. ``hidden``, ``activation`` and
    ``bias`` describe the head; absent ones follow the architecture. ``options`` are further keywords of the readout.
    """

    readout: str = Field(description="Kind of readout, such as `energy`, `intensive` or `dipole`.")
    unit: Unit = Field(description="Unit of the prediction.")
    reference: ReferenceKind | Literal["none"] = Field(
        "none", description="Energies per element that are added to the network's sum.")
    hidden: Annotated[list[Annotated[int, Field(ge=1)]], Field(max_length=100)] | None = Field(
        None, description="Widths of the head's hidden layers.")
    activation: str | None = Field(None, description="Activation of the head.")
    bias: bool | None = Field(None, description="Whether the head's layers have a bias.")
    options: dict[str, Any] = Field({}, description="Further keywords of the readout.")
    description: str | None = Field(None, description="What the property is, in words.")

    def head(self, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Keywords of the readout: ``defaults`` of the architecture, then what this card says."""
        own = {k: v for k in ("hidden", "activation", "bias") if (v := getattr(self, k)) is not None}
        return {**(defaults or {}), **own, **self.options}


class References(Section):
    """Energies of atoms, which are added to the network's sum to give one extensive target."""

    kind: ReferenceKind = Field(description="The same as `reference` of the target.")
    unit: Unit = Field(description="Unit of the values.")
    values: dict[Symbol, float] = Field(max_length=len(NUMBERS), description="Energy of one atom, by chemical symbol.")
    source: str | None = Field(None, description="Where the values come from.")


class ZBLPrior(Section):
    """Repulsion of nuclei, see :class:`zoo.model.priors.ZBL`."""

    reach: float = Field(1.0, gt=0, le=2, description="Range, as a multiple of the sum of both covalent radii.")
    core: float | None = Field(
        None, gt=0, description="The network receives no distance much below this multiple of the sum of the radii.")

    @model_validator(mode="after")
    def _core_repels(self) -> ZBLPrior:
        if self.core is not None and self.core >= self.reach:
            raise ValueError(f"core {self.core:g} must be less than reach {self.reach:g}: nothing would repel atoms "
                             "whose distances the network does not receive")
        return self


class Priors(Section):
    """Known physics that is added to the energy; the network is trained on the rest."""

    zbl: ZBLPrior | None = Field(None, description="Ziegler-Biersack-Littmark repulsion of nuclei at short distances.")

    def given(self) -> list[tuple[str, dict[str, Any]]]:
        """Name and settings of every prior that the card declares."""
        fields = [(name, getattr(self, name)) for name in type(self).model_fields]
        return [(name, {key: getattr(prior, key) for key in type(prior).model_fields})
                for name, prior in fields if prior is not None]


class Domain(Section):
    """Structures that the model is meant for. A charge or spin of ``null`` is neither restricted nor read."""

    elements: list[Symbol] = Field([], max_length=len(NUMBERS), description="Chemical symbols that the model accepts.")
    pbc: bool = Field(False, description="Whether it accepts periodic structures.")
    charge: int | list[int] | None = Field(0, description="Total charges that it accepts, in e; `null` for any.")
    spin: int | list[int] | None = Field(
        0, description="Numbers of unpaired electrons that it accepts; `null` for any.")
    reach: str | None = Field(None, description="Structures for which the predictions hold, in words.")
    bonds: dict[str, list[float]] = Field(
        {}, description="Shortest and longest bond in the training data in Å, by kind, such as `C-H`.")
    max_force: float | None = Field(None, gt=0, description="Largest force on an atom in the training data, eV/Å.")

    @field_validator("bonds")
    @classmethod
    def _bonds_are_ranges(cls, bonds: dict[str, list[float]]) -> dict[str, list[float]]:
        for kind, span in bonds.items():
            for symbol in kind.split("-"):
                check_symbol(symbol)
            if kind.count("-") != 1 or list(kind.split("-")) != sorted(kind.split("-")):
                raise ValueError(f"'{kind}' is no kind of bond: expected two symbols in alphabetical order, as in C-H")
            if len(span) != 2 or not 0 < span[0] <= span[1]:
                raise ValueError(f"{kind}: {span} is not [shortest, longest] in Å")
        return bonds

    @field_validator("elements")
    @classmethod
    def _each_once(cls, elements: list[str]) -> list[str]:
        twice = sorted(symbol for symbol, count in Counter(elements).items() if count > 1)
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return elements


class Split(Section):
    """Structures for training, validation and testing: a file of their fingerprints with its hash, and the counts."""

    file: FileName | None = Field(None, description="File next to the card that lists the structures of each part.")
    sha256: Sha256 | None = Field(None, description="Hash of that file.")
    train: int | None = Field(None, ge=0, description="Number of structures for training.")
    val: int | None = Field(None, ge=0, description="Number of structures for validation.")
    test: int | None = Field(None, ge=0, description="Number of structures for testing.")
    seed: int | None = Field(None, description="Seed of a random split.")


class Data(Section):
    """What the model was, or is to be, trained on."""

    dataset: str | None = Field(None, description="Name of a data set, as `zoo plugins` lists it, or `hf:org/repo`.")
    path: str | None = Field(None, description="File or folder of structures.")
    source: str | None = Field(None, description="Where to download the files.")
    files: dict[str, Sha256] = Field({}, description="SHA-256 of the files, by name.")
    keys: dict[str, str] = Field({}, description="Name of a target in the files, by target.")
    units: dict[str, Unit] = Field({}, description="Unit of a target in the files, by target.")
    optional: list[str] = Field([], description="Targets that some structures may lack.")
    split: Split | None = Field(None, description="How the data are divided.")
    theory: str | None = Field(None, description="Level of theory of the labels.")
    citation: Texts = Field([], description="Papers of the data to cite.")


class Requires(Section):
    """Version of the zoo, and the package to install when the architecture is missing."""

    zoo: str | None = Field(None, description="Versions of the zoo, such as `>=0.3`.")
    plugin: str | None = Field(None, description="Package that offers the architecture.")


class Weights(Section):
    """The file of weights, in the folder of the card."""

    file: FileName = Field(description="Name of the file, in the folder of the card.")
    sha256: Sha256 = Field(description="Hash of the file, checked before it is read.")
    bytes: int = Field(ge=0, description="Size of the file.")
    parameters: int = Field(ge=0, description="Number of trained parameters.")
    dtype: Literal["float32", "float64"] | None = Field(None, description="Precision of the stored weights.")


class Training(Section):
    """How the training run went."""

    device: str | None = Field(None, description="Device and precision.")
    hours: float | None = Field(None, ge=0, description="Hours of this run.")
    earlier_hours: float | None = Field(None, ge=0, description="Hours of the runs that its initial weights come from.")
    epochs_done: float | None = Field(None, ge=0, description="Passes over the training data.")
    steps_done: int | None = Field(None, ge=0, description="Optimizer steps.")
    molecules_per_second: float | None = Field(None, ge=0, description="Speed.")
    best_validation: dict[str, float] = Field({}, description="Validation metrics of the saved weights, by name.")
    commit: str | None = Field(None, description="Commit of the zoo.")
    date: str | None = Field(None, description="Day the run ended.")
    versions: dict[str, str] = Field({}, description="Versions of packages, by name.")
    parts: dict[str, str] = Field({}, description="Package and version of each part of the recipe that is a plugin's.")

    @property
    def all_hours(self) -> float | None:
        """Hours of this run and of those that its initial weights come from."""
        return None if self.hours is None else self.hours + (self.earlier_hours or 0.0)
