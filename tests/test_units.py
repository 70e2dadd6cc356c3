"""The closed list of units."""

from __future__ import annotations

import ase.units
import pytest

from zoo.errors import DataError
from zoo.units import UNITS, canonical, dimension, factor


@pytest.mark.parametrize("unit", UNITS)
def test_each_unit_is_its_own_canonical_spelling(unit):
    assert canonical(unit) == unit and factor(unit, unit) == 1.0


@pytest.mark.parametrize(("spelling", "unit"), [
    ("ev", "eV"), ("Ha", "Hartree"), ("kcal mol^-1", "kcal/mol"), ("kcal/(mol·Å)", "kcal/mol/Å"),
    ("mol⁻¹ kcal", "kcal/mol"), ("cal/(mol K)", "cal/mol/K"), ("Bohr^3", "a0^3"), ("a_0^2", "a0^2"),
    ("A**3", "Å^3"), ("Å³", "Å^3"), ("\u212b", "Å"),
    ("eV / Angstrom", "eV/Å"), ("hartree/bohr", "Hartree/a0"), ("Debye", "D"), ("e*Å", "e·Å"), ("1/cm", "cm^-1"),
    ("eV/atoms", "eV/atom"), ("\u00b5B", "μB"),
])
def test_common_spellings_are_understood(spelling, unit):
    assert canonical(spelling) == unit


@pytest.mark.parametrize(
    "text", ["", " ", "/", "eV/", "/eV", "eV//Å", "MeV", "ev^2", "eV^1.5", "furlong", "m", "K^-1", None, 1]
)
def test_other_units_are_refused(text):
    with pytest.raises(DataError, match="unknown unit"):
        canonical(text)


def test_a_misspelt_unit_gets_a_suggestion():
    with pytest.raises(DataError, match="'kcal/mil'; did you mean 'kcal/mol'"):
        canonical("kcal/mil")


@pytest.mark.parametrize(("unit", "to", "expected"), [
    ("Hartree", "eV", ase.units.Hartree), ("kcal/mol", "eV", ase.units.kcal / ase.units.mol),
    ("a0^3", "Å^3", ase.units.Bohr**3), ("kJ/mol", "meV", 1e3 * ase.units.kJ / ase.units.mol),
    ("D", "e·Å", ase.units.Debye), ("GPa", "eV/Å^3", ase.units.GPa),
    ("Hartree/a0", "eV/Å", ase.units.Hartree / ase.units.Bohr), ("kbar", "GPa", 0.1),
    ("cal/mol/K", "eV/K", ase.units.kcal / ase.units.mol / 1000), ("Ry", "Hartree", 0.5),
])
def test_factors_agree_with_ase(unit, to, expected):
    # ASE's constants are those of CODATA 2014, which differ from 2022 in the eighth digit.
    assert factor(unit, to) == pytest.approx(expected, rel=1e-7)
    assert factor(to, unit) == pytest.approx(1 / expected, rel=1e-7)


def test_what_measures_different_things_is_not_converted():
    assert dimension("kcal/mol") == dimension("eV") != dimension("eV/atom")
    with pytest.raises(DataError, match="cannot convert 'eV' to 'eV/atom'"):
        factor("eV", "eV/atom")
    with pytest.raises(DataError, match="cannot convert 'D' to 'e'"):
        factor("Debye", "e")
