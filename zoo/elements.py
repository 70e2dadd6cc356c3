"""Chemical symbols by atomic number. Torch-free and ase-free, so that cards can be read fast."""

from __future__ import annotations

from collections.abc import Iterable

from zoo.errors import StructureError, did_you_mean

__all__ = ["NUMBERS", "SYMBOLS", "numbers"]

SYMBOLS = tuple(
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "
    "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au "
    "Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts "
    "Og".split()
)
"""``SYMBOLS[6] == "C"``; index 0 is ``X``, no element."""

NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def numbers(symbols: Iterable[str]) -> list[int]:
    """Atomic numbers of symbols, in their order.

    Raises:
        StructureError: no element has this symbol.
    """
    found = []
    for symbol in symbols:
        if NUMBERS.get(symbol, 0) == 0:
            raise StructureError(f"'{symbol}' is no chemical symbol{did_you_mean(symbol, NUMBERS)} "
                                 "Fix: write it like 'C' or 'Si'.")
        found.append(NUMBERS[symbol])
    return found
