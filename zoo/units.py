"""The closed list of units, their spellings, and factors between them.

The zoo computes in eV, Å, e and K. A property keeps the unit its card declares; what goes to ASE is converted.
Constants are CODATA 2022; a calorie is the thermochemical one, 4.184 J.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

from zoo.errors import DataError, did_you_mean, shortened

__all__ = ["UNITS", "canonical", "dimension", "factor"]

HARTREE = 27.211386245981  # eV
BOHR = 0.529177210544  # Å
ELEMENTARY_CHARGE = 1.602176634e-19  # C, exact
AVOGADRO = 6.02214076e23  # 1/mol, exact
LIGHT_SPEED = 299792458.0  # m/s, exact

_BASE: dict[str, tuple[str, float]] = {
    # name: (quantity, size in eV, Å, e, K)
    "eV": ("energy", 1.0),
    "meV": ("energy", 1e-3),
    "Hartree": ("energy", HARTREE),
    "mHartree": ("energy", 1e-3 * HARTREE),
    "Ry": ("energy", HARTREE / 2),
    "J": ("energy", 1 / ELEMENTARY_CHARGE),
    "kJ": ("energy", 1e3 / ELEMENTARY_CHARGE),
    "cal": ("energy", 4.184 / ELEMENTARY_CHARGE),
    "kcal": ("energy", 4184 / ELEMENTARY_CHARGE),
    "mol": ("amount", AVOGADRO),
    "Å": ("length", 1.0),
    "a0": ("length", BOHR),
    "nm": ("length", 10.0),
    "cm": ("length", 1e8),
    "e": ("charge", 1.0),
    "D": ("dipole", 1e-11 / (LIGHT_SPEED * ELEMENTARY_CHARGE)),
    "mD": ("dipole", 1e-14 / (LIGHT_SPEED * ELEMENTARY_CHARGE)),
    "K": ("temperature", 1.0),
    "GPa": ("pressure", 1e-21 / ELEMENTARY_CHARGE),
    "kbar": ("pressure", 1e-22 / ELEMENTARY_CHARGE),
    "GHz": ("frequency", 1.0),
    "THz": ("frequency", 1e3),
    "ppm": ("shielding", 1.0),
    "μB": ("moment", 1.0),
    "atom": ("atom", 1.0),
    "%": ("fraction", 0.01),
}

_DIMENSIONS = {
    "pressure": {"energy": 1, "length": -3}, "dipole": {"charge": 1, "length": 1}, "amount": {}, "atom": {"atom": 1},
    "fraction": {},
}

UNITS = (
    "1", "%", "eV", "meV", "Hartree", "mHartree", "Ry", "kcal/mol", "kJ/mol", "cm^-1", "eV/atom", "meV/atom",
    "kcal/mol/atom", "kJ/mol/atom", "Hartree/atom", "eV/Å", "meV/Å", "kcal/mol/Å", "kJ/mol/Å", "kJ/mol/nm",
    "Hartree/a0", "Hartree/Å", "eV/Å^2", "eV/Å^3", "meV/Å^3", "GPa", "kbar", "Å", "a0", "nm", "Å^2", "a0^2", "Å^3",
    "a0^3", "Å^3/atom", "D", "mD", "e", "e·Å", "e·a0", "e·Å^2", "e·a0^2", "D·Å", "e^2·Å^2/eV", "cal/mol/K", "J/mol/K",
    "eV/K", "meV/K", "K", "GHz", "THz", "ppm", "μB", "μB/atom",
)
"""Units a card may declare, in their canonical spelling; ``1`` is dimensionless."""

_SPELLINGS = {
    "ev": "eV", "EV": "eV", "electronvolt": "eV", "mev": "meV", "hartree": "Hartree", "Ha": "Hartree", "ha": "Hartree",
    "Eh": "Hartree", "E_h": "Hartree", "mHa": "mHartree", "mEh": "mHartree", "mhartree": "mHartree", "Rydberg": "Ry",
    "A": "Å", "Ang": "Å", "ang": "Å", "Angstrom": "Å", "angstrom": "Å", "Ångström": "Å", "Bohr": "a0", "bohr": "a0",
    "a_0": "a0", "Debye": "D", "debye": "D", "mDebye": "mD", "|e|": "e", "µB": "μB", "mu_B": "μB", "muB": "μB",
    "uB": "μB", "atoms": "atom", "at": "atom", "kelvin": "K", "gpa": "GPa", "Kcal": "kcal", "KJ": "kJ",
}

_LONGEST = 60  # characters of a unit
_FACTOR = re.compile(r"(^|\s*[/·⋅*]\s*|\s+)([^/·⋅*\s]+)")
_PRODUCT = re.compile(rf"(?:{_FACTOR.pattern})+")
_TOKEN = re.compile(r"(a_?0|\|e\||[^\W\d]+(?:_[^\W\d]+)?|%)(?:\^?([+-]?\d+))?")


def canonical(unit: str) -> str:
    """The canonical spelling: ``canonical("kcal mol^-1")`` is ``"kcal/mol"``, ``canonical("Ang^3")`` is ``"Å^3"``.

    Raises:
        DataError: no unit of :data:`UNITS`, with the nearest.
    """
    powers = _powers(unit) if isinstance(unit, str) else None
    found = None if powers is None else _canonical_by_powers().get(powers)
    if found is None:
        hint = did_you_mean(str(unit), UNITS)
        raise DataError(f"unknown unit {shortened(unit)}{hint}" + f" Fix: use one of {', '.join(UNITS)}.")
    return found


def factor(unit: str, to: str) -> float:
    """Factor that converts a number from ``unit`` to ``to``: ``factor("Hartree", "eV")`` is 27.2114.

    Raises:
        DataError: unknown unit, or the two have different dimensions.
    """
    if dimension(unit) != dimension(to):
        raise DataError(f"cannot convert '{canonical(unit)}' to '{canonical(to)}': they measure different things. "
                        f"Fix: name a unit of the same quantity.")
    return 1.0 if canonical(unit) == canonical(to) else _size(unit) / _size(to)


def dimension(unit: str) -> tuple[tuple[str, int], ...]:
    """Powers of the quantities a unit is made of, e.g. ``(("energy", 1), ("length", -1))``; per-mole counts as none."""
    totals: dict[str, int] = {}
    for name, power in _powers(canonical(unit)) or ():
        quantity = _BASE[name][0]
        for part, inner in _DIMENSIONS.get(quantity, {quantity: 1}).items():
            totals[part] = totals.get(part, 0) + power * inner
    return tuple(sorted((part, power) for part, power in totals.items() if power))


def _size(unit: str) -> float:
    size = 1.0
    for name, power in sorted(_powers(canonical(unit)) or ()):
        size *= _BASE[name][1] ** power
    return size


@cache
def _canonical_by_powers() -> dict[frozenset[tuple[str, int]], str]:
    return {powers: name for name in UNITS if (powers := _powers(name)) is not None}


@lru_cache(maxsize=256)
def _powers(unit: str) -> frozenset[tuple[str, int]] | None:
    """``"kcal/(mol·Å)"`` as {("kcal", 1), ("mol", -1), ("Å", -1)}; ``None`` when it cannot be read."""
    if len(unit) > _LONGEST:
        return None
    text = unicodedata.normalize("NFKC", unit).strip().replace("**", "^").replace("−", "-")
    # After "/" one factor stands below the line, or all of a bracket: "a/(b·c)" is "a/b/c".
    text = re.sub(r"/\s*\(([^()]*)\)", lambda m: "/" + re.sub(r"[·⋅*\s]+", "/", m[1].strip()), text)
    if text in ("1", ""):
        return frozenset() if text else None
    powers: dict[str, int] = {}
    if not _PRODUCT.fullmatch(text):
        return None
    for sign, part in _FACTOR.findall(text):
        if part == "1":
            continue
        match = _TOKEN.fullmatch(part)
        name = _SPELLINGS.get(match[1], match[1]) if match else None
        if match is None or name not in _BASE:
            return None
        powers[name] = powers.get(name, 0) + int(match[2] or 1) * (-1 if sign.strip() == "/" else 1)
    return frozenset((name, power) for name, power in powers.items() if power)
