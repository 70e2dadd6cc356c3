"""What a structure states of its charge, its unpaired electrons and the occupancy of its sites, by any common name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import ase
import numpy as np

from zoo.errors import StructureError

__all__ = ["CHARGES", "MULTIPLICITIES", "UNPAIRED", "Statement", "check_statements", "has_moments",
           "partial_occupancy", "stated_charges", "stated_spins"]

Statement = tuple[str, float]
"""Where it is stated, and the value."""

CHARGES = ("charge", "total_charge", "net_charge", "tot_charge", "totalcharge", "molecular_charge", "formal_charge",
            "system_charge")
UNPAIRED = ("spin", "uhf", "unpaired", "unpaired_electrons", "n_unpaired", "num_unpaired_electrons")
MULTIPLICITIES = ("multiplicity", "spin_multiplicity", "mult")
_ATOMIC = ("charge", "charges", "formal_charge", "formal_charges")
_ROUNDING = 0.05
"""Sums of atomic charges written with few digits deviate by this from zero; more in large structures."""
_COMPUTED = 0.5
"""Sums of atomic charges from a calculation, which depend on its grid, deviate by less than this."""
_FULL = 1e-3


def check_statements(atoms: ase.Atoms, inputs: Collection[str], name: str) -> None:
    """Raise an error for a charge, a spin or a disorder that a model would pass over.

    Args:
        inputs: of the model: what is in it is read from ``info``, and has to be what the structure states elsewhere.
        name: what errors call the structure.

    Raises:
        StructureError: a charge or spin other than zero that is not among the inputs or contradicts the one that is;
            sites that are shared or partly filled.
    """
    disorder = partial_occupancy(atoms)
    if disorder is not None:
        raise StructureError(f"{name} has partial occupancies: {disorder}, and a model needs whole atoms. "
                             "Fix: decide which atom is there, in a supercell if need be.")
    try:
        stated = {"charge": stated_charges(atoms), "spin": stated_spins(atoms)}
    except StructureError as error:
        raise StructureError(f"{name}: {error}") from None
    for field, statements in stated.items():
        given = atoms.info.get(field) if field in inputs else 0.0
        for where, value in statements:
            if given is None or np.size(given) != 1 or abs(value - float(np.ravel(given)[0])) <= _ROUNDING:
                continue
            if field in inputs and abs(value - float(np.ravel(given)[0])) > _COMPUTED:
                raise StructureError(f"{name} has {field} {_text(np.ravel(given)[0])} in info[{field!r}] and "
                                     f"{value:g} in {where}. Fix: correct the one that is wrong.")
            if field not in inputs:
                raise StructureError(_unread(field, name, where, value))


def _unread(field: str, name: str, where: str, value: float) -> str:
    text = (f"{name} has {field} {value:g} ({where}), and this model knows neutral closed-shell structures only: its "
            f"card declares no input '{field}'. ")
    if field == "charge":
        return f"{text}Fix: choose a model that reads 'charge', or remove it from the structure."
    return (f"{text}Spin is the number of unpaired electrons here; programs that give the multiplicity write 1 for a "
            "closed shell. Fix: choose a model that reads 'spin'; for a closed shell, write spin=0 or multiplicity=1.")


def has_moments(atoms: ase.Atoms) -> bool:
    """Whether it states magnetic moments of its atoms, other than zero."""
    moments = atoms.arrays.get("initial_magmoms")
    return moments is not None and bool(np.any(moments))


def stated_charges(atoms: ase.Atoms) -> list[Statement]:
    """Every statement of the total charge in e: in ``info``, or as the sum of charges of the atoms."""
    found = [(f"info[{key!r}]", value) for key, value in _numbers(atoms.info, CHARGES)]
    rounding = max(_ROUNDING, 1e-3 * len(atoms))
    for key, values in atoms.arrays.items():
        if key == "initial_charges" or key in _ATOMIC:
            found += _sum(f"arrays[{key!r}]", values, rounding)
    results = getattr(atoms.calc, "results", None) or {}
    if results.get("charges") is not None:
        found += _sum("the charges of its atoms", results["charges"], _COMPUTED)
    return found


def stated_spins(atoms: ase.Atoms) -> list[Statement]:
    """Every statement of the number of unpaired electrons; a multiplicity is one more than these."""
    found = [(f"info[{key!r}]", value) for key, value in _numbers(atoms.info, UNPAIRED)]
    return found + [(f"info[{key!r}]", value - 1) for key, value in _numbers(atoms.info, MULTIPLICITIES)]


def partial_occupancy(atoms: ase.Atoms) -> str | None:
    """In words, which sites are shared or only partly filled; ``None`` if none is."""
    given = atoms.info.get("occupancy")
    if isinstance(given, Mapping):
        for site, shares in given.items():
            if isinstance(shares, Mapping) and (len(shares) > 1 or any(_is_partial(x) for x in shares.values())):
                return f"site {site} holds " + ", ".join(f"{_text(x)} {symbol}" for symbol, x in shares.items())
        return None
    arrays = [atoms.arrays[key] for key in ("occupancy", "occupancies") if key in atoms.arrays]
    values = np.ravel(arrays[0] if arrays else [] if given is None else given)
    partial = [k for k, value in enumerate(values) if _is_partial(value)]
    # Programs that know no occupancies write zeros.
    if partial and any(_number(values[k]) for k in partial):
        first = next(k for k in partial if _number(values[k]))
        return f"atom {first} has an occupancy of {_text(values[first])}"
    return None


def _numbers(info: Mapping[Any, Any], names: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    pairs = dict(info)
    if isinstance(nested := info.get("key_value_pairs"), Mapping):  # of ase.db
        pairs |= nested
    for key, value in pairs.items():
        plain = re.sub(r"[^a-z0-9]+", "_", str(key).lower()).strip("_")
        if plain not in names and not plain.endswith(tuple(f"_{name}" for name in names if "_" in name)):
            continue
        if value is None or np.size(value) != 1:
            continue
        number = _number(np.ravel(value)[0])
        if isinstance(value, (bool, np.bool_)) or number is None:
            raise StructureError(f"its {key} is {value!r}, not a number. Fix: write {plain}=0, or the value that it "
                                 "has.")
        yield str(key), number


def _number(value: Any) -> float | None:
    text = str(value).strip()
    if re.fullmatch(r"\d+[+-]", text):  # 2-, as chemists write it
        text = text[-1] + text[:-1]
    text = re.sub(r"\(\d+\)$", "", text)  # 0.5(1), as crystallographers do
    try:
        return float(text)
    except ValueError:
        return None


def _sum(where: str, values: Any, tolerance: float) -> list[Statement]:
    try:
        total = float(np.sum(np.asarray(values, dtype=np.float64)))
    except (TypeError, ValueError):
        return []
    return [(f"the sum of {where}" if where.startswith("arrays") else where, round(total, 3))] \
        if np.isfinite(total) and abs(total) > tolerance else []


def _is_partial(value: Any) -> bool:
    number = _number(value)
    return number is not None and number < 1 - _FULL


def _text(value: Any) -> str:
    number = _number(value)
    return str(value) if number is None else f"{number:g}"
