"""QM9 as published: columns, units, free atoms, citations, and hashes of the columns, equal for every source."""

from __future__ import annotations

__all__ = ["ATOM_REFERENCES", "CITATION", "COLUMNS", "FINGERPRINTS", "IN_HARTREE", "LICENSE", "MEAN_POSITION", "THEORY",
           "UNITS"]

COLUMNS = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv")
"""The twelve targets, in the order of the original files (where A, B and C come first)."""

UNITS = {
    "mu": "D", "alpha": "a0^3", "homo": "eV", "lumo": "eV", "gap": "eV", "r2": "a0^2", "zpve": "eV",
    "U0": "eV", "U": "eV", "H": "eV", "G": "eV", "Cv": "cal/mol/K",
}

IN_HARTREE = ("homo", "lumo", "gap", "zpve", "U0", "U", "H", "G")

ATOM_REFERENCES = {
    "zpve": {1: 0.0, 6: 0.0, 7: 0.0, 8: 0.0, 9: 0.0},
    "U0": {1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730},
    "U": {1: -0.498857, 6: -37.845355, 7: -54.582445, 8: -75.063163, 9: -99.717314},
    "H": {1: -0.497912, 6: -37.844411, 7: -54.581501, 8: -75.062219, 9: -99.716370},
    "G": {1: -0.510927, 6: -37.861317, 7: -54.598897, 8: -75.079532, 9: -99.733544},
    "Cv": {1: 2.981, 6: 2.981, 7: 2.981, 8: 2.981, 9: 2.981},
}
"""Values of the free atoms at the level of theory of QM9, as published with it: Hartree, and cal/mol/K for Cv."""

THEORY = "B3LYP/6-31G(2df,p)"
LICENSE = "CC0-1.0"
CITATION = (
    "R. Ramakrishnan, P. O. Dral, M. Rupp, O. A. von Lilienfeld, Quantum chemistry structures and properties of 134 "
    "kilo molecules, Sci. Data 1, 140022 (2014), doi:10.1038/sdata.2014.22",
    "L. Ruddigkeit, R. van Deursen, L. C. Blum, J.-L. Reymond, Enumeration of 166 billion organic small molecules in "
    "the chemical universe database GDB-17, J. Chem. Inf. Model. 52, 2864 (2012), doi:10.1021/ci300415d",
)

FINGERPRINTS = {
    "gdb": "0f765488b299e839", "n_atoms": "4183e9a81c83475b", "z": "12864330fe28f318",
    "mu": "3fe6f5fd20172987", "alpha": "f7e15a3f2cb1ed62", "homo": "892239f010b4c237", "lumo": "5a71ab36edf33ecf",
    "gap": "6fa98eabebe6eff7", "r2": "2c4c424cfa74bc3a", "zpve": "9abf72784af552c3", "U0": "aa865085a2ae491e",
    "U": "0c7d0659549a302a", "H": "9d7958cda1d6ef07", "G": "ff2858f56eb925e8", "Cv": "b48da0d149bd2fba",
}
"""First 16 hexadecimal digits of the sha256 of each column of the whole set, equal for every source. Columns
are little-endian int64 and uint8, targets float64 in the units of the original."""

MEAN_POSITION = 1.31350168
"""Å, mean of |x|, |y| and |z| over all atoms: positions have ten decimals in some sources and four in others."""
