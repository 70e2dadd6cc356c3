"""The bundled collection: registry of trained models and data sets. Each architecture is a plugin of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.plugin import DatasetSpec, hookimpl


@hookimpl
def zoo_registries() -> list[Path]:
    here = Path(__file__).resolve().parent
    # Installed, the registry is in this package next to the cards; in the source tree it is one folder up.
    installed = here / "registry.yaml"
    return [installed if installed.is_file() else here.parent / "registry.yaml"]


QM9 = DatasetSpec(
    name="qm9",
    factory="zoo.data.qm9:open_qm9",
    summary="130,831 molecules of H, C, N, O, F at their B3LYP minima, twelve properties",
    targets={
        "mu": "D", "alpha": "a0^3", "homo": "eV", "lumo": "eV", "gap": "eV", "r2": "a0^2", "zpve": "eV",
        "U0": "eV", "U": "eV", "H": "eV", "G": "eV", "Cv": "cal/mol/K",
    },
    split="51c824d21d95519b939bd54f24912b5811876824130bd2015e0863d383ef8a99",
    theory="B3LYP/6-31G(2df,p)",
    license="CC0-1.0",
    citation=(
        "R. Ramakrishnan, P. O. Dral, M. Rupp, O. A. von Lilienfeld, Quantum chemistry structures and properties of "
        "134 kilo molecules, Sci. Data 1, 140022 (2014), doi:10.1038/sdata.2014.22",
        "L. Ruddigkeit, R. van Deursen, L. C. Blum, J.-L. Reymond, Enumeration of 166 billion organic small molecules "
        "in the chemical universe database GDB-17, J. Chem. Inf. Model. 52, 2864 (2012), doi:10.1021/ci300415d",
    ),
)

QM9_ANY_GEOMETRY = replace(
    QM9,
    name="qm9-any-geometry",
    factory="zoo.data.qm9_any_geometry:open_any_geometry",
    summary="QM9's properties next to MMFF94, GFN2-xTB and SMILES geometries; see `zoo data make qm9-geometries`",
)

QM9_SAMPLE = replace(
    QM9,
    name="qm9-sample",
    factory="zoo.data.sample:open_sample",
    summary="500 molecules of QM9 that ship with the zoo: 400 of its training split, 100 of its test split",
)


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    return [QM9, QM9_SAMPLE, QM9_ANY_GEOMETRY]
