"""Types of single values in a card: units, chemical symbols, names, hashes, file names."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, StringConstraints

from zoo.elements import NUMBERS
from zoo.errors import DataError, did_you_mean, shortened
from zoo.units import canonical

__all__ = ["DERIVATIVES", "FileName", "Name", "ReferenceKind", "Sha256", "Symbol", "TargetName", "Texts", "Unit",
           "check_symbol"]

DERIVATIVES = {"forces": "eV/Å", "stress": "eV/Å^3"}
"""Derivatives of the energy, with their units."""


def _unit(text: str) -> str:
    try:
        return canonical(text)
    except DataError as error:
        raise ValueError(str(error)) from None


def check_symbol(text: str) -> str:
    if NUMBERS.get(text, 0) == 0:
        hint = did_you_mean(text, NUMBERS) if len(text) <= 12 else "."
        raise ValueError(f"{shortened(text)} is no chemical symbol{hint}")
    return text


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _file_name(text: str) -> str:
    if text in ("", ".", "..") or re.search(r"[\\/:\0]", text):
        raise ValueError(f"{shortened(text)} is no plain file name; the file is in the folder of the card")
    return text


Unit = Annotated[str, AfterValidator(_unit)]
Symbol = Annotated[str, AfterValidator(check_symbol)]
Texts = Annotated[list[str], BeforeValidator(_as_list)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=96)]
TargetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
FileName = Annotated[str, AfterValidator(_file_name)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ReferenceKind = Literal["atomization", "isolated", "fitted"]
