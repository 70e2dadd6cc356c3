"""Sections of a card that commands write: errors, error estimates, reference outputs; and the exempted checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from zoo.cards.section import Section
from zoo.cards.values import FileName, Sha256, Symbol, Unit

__all__ = ["Breakdown", "Calibration", "Exemption", "Metric", "ReferenceOutputs", "Structure", "Uncertainty"]


class Metric(Section):
    """One measured number; written by ``zoo evaluate``, never by hand."""

    split: str = Field(description="Part of the data it was measured on.")
    target: str = Field(description="Target, `forces` or `stress`.")
    metric: str = Field(description="Kind of error, such as `mae` or `rmse`.")
    value: float = Field(description="The number.")
    unit: Unit = Field(description="Its unit.")
    n: int = Field(ge=1, description="Number of structures.")
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        None, description="Its 95 % confidence interval.")
    by: str = Field(description="Command that measured it.")
    date: str = Field(description="Day it was measured.")
    device: str | None = Field(None, description="Device, threads and precision.")
    commit: str | None = Field(None, description="Commit of the zoo that measured it.")


class Breakdown(Section):
    """Mean absolute errors of parts of a split; written by ``zoo evaluate``.

    The ``groups`` are numbers of heavy atoms, elements that the structures contain, or kinds of structures that the
    data set names. ``mae`` has one value per group for every target, in the unit of its metric.
    """

    split: str = Field(description="Part of the data it was measured on.")
    by: Literal["heavy_atoms", "element", "kind"] = Field(description="Property that the groups differ in.")
    groups: list[str] = Field(description="Names of the groups.")
    n: list[int] = Field(description="Number of structures in each group.")
    mae: dict[str, list[float | None]] = Field(description="Mean absolute error in each group, by target.")
    coverage: dict[str, list[float | None]] | None = Field(
        None, description="Share of errors within their interval, of the structures that are not flagged, by target.")
    outside: list[float] | None = Field(None, description="Share of the structures flagged as out of distribution.")

    @model_validator(mode="after")
    def _one_value_a_group(self) -> Breakdown:
        columns: dict[str, Sequence[float | None]] = {"n": self.n, **self.mae, **(self.coverage or {})}
        if self.outside is not None:
            columns["outside"] = self.outside
        for name, values in columns.items():
            if len(values) != len(self.groups):
                raise ValueError(f"{name}: {len(values)} values for {len(self.groups)} groups")
        return self


class Structure(Section):
    """A structure in full: symbols, positions in Å, and the optional inputs of a graph."""

    symbols: list[Symbol] = Field(max_length=1000, description="Chemical symbols of the atoms.")
    positions: list[Annotated[list[float], Field(min_length=3, max_length=3)]] = Field(
        max_length=1000, description="Positions in Å, one row of three per atom.")
    cell: list[list[float]] | None = Field(None, description="Lattice vectors in Å, as rows.")
    pbc: list[bool] | None = Field(None, description="Which lattice vectors are periodic.")
    charge: float | None = Field(None, description="Total charge in e.")
    spin: float | None = Field(None, description="Number of unpaired electrons.")

    @model_validator(mode="after")
    def _one_position_each(self) -> Structure:
        if len(self.symbols) != len(self.positions):
            raise ValueError(f"{len(self.symbols)} symbols, but {len(self.positions)} positions")
        return self


class ReferenceOutputs(Section):
    """Outputs recorded when the model was released."""

    structure: str | Structure = Field(
        description="Name of a molecule in `ase.build.molecule`, or a structure in full.")
    dtype: Literal["float32", "float64"] = Field(description="Precision of the calculation.")
    outputs: dict[str, float | list[Any]] = Field(description="Predictions, by target or derivative.")
    atol: float = Field(gt=0, description="Absolute tolerance, in the unit of each output.")
    rtol: float = Field(0.0, ge=0, description="Relative tolerance.")


class Calibration(Section):
    """How well the intervals fit the errors on a split; written by ``zoo evaluate``. ``width`` is in the unit of the
    target's metric.
    """

    split: str = Field(description="Part of the data it was measured on.")
    n: int = Field(ge=1, description="Number of structures.")
    coverage: dict[str, float] = Field(description="Share of errors within the interval, by target.")
    spearman: dict[str, float] = Field(description="Rank correlation of half-width and absolute error, by target.")
    width: dict[str, float] = Field(description="Median half-width of the interval, by target.")
    outside: float = Field(ge=0, le=1, description="Share of structures flagged as out of distribution.")
    date: str = Field(description="Day it was measured.")


class Uncertainty(Section):
    """The error model next to the weights; written by ``zoo calibrate``."""

    file: FileName = Field(
        description="Name of the error model's file, in the folder of the card.")
    sha256: Sha256 = Field(description="Hash of that file.")
    bytes: int = Field(ge=0, description="Size of that file.")
    weights: Sha256 = Field(description="Hash of the weights that it was fitted to.")
    level: float = Field(gt=0, lt=1, description="Share of errors that the intervals are to contain.")
    train: int = Field(ge=0, description="Number of training structures it was fitted on.")
    val: int = Field(ge=0, description="Number of validation structures it was fitted on.")
    date: str = Field(description="Day it was fitted.")
    measured: list[Calibration] = Field([], description="How well the intervals fit the errors on other splits.")


class Exemption(Section):
    """A conformance check that the model is not expected to pass, and why."""

    check: str = Field(description="Name of the check.")
    reason: str = Field(min_length=1, description="Why the model is not expected to pass it.")
