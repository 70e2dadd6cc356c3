"""`zoo export`: a model as a file that runs without the zoo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["export"]


def export(
    name: Annotated[str, typer.Argument(help="Name of a model, or a card folder.")],
    format: Annotated[
        str, typer.Option(help="torch-export: Python on any machine. aoti: compiled for this machine, also for C++.")
    ] = "torch-export",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A .pt2 file; NAME.pt2 if absent.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Precision of the network: float32 or float64.")] = None,
    stress: Annotated[
        bool | None, typer.Option("--stress/--no-stress", help="Default: if the model accepts periodic structures.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device on which the file will run: cpu or cuda.")] = None,
) -> None:
    """Export energy, forces and stress as one file, with a description and the measured agreement next to it."""
    from zoo.exporting import export as export_model

    written = export_model(name, output, format, dtype=dtype, stress=stress, device=device)  # type: ignore[arg-type]
    description = json.loads(written.with_name(f"{written.name}.json").read_text(encoding="utf-8"))
    _show(written, description)


def _show(written: Path, description: dict[str, Any]) -> None:
    from rich import box
    from rich.table import Table

    from zoo.cli import console

    out = console()
    inputs, outputs = (", ".join(description[key]) for key in ("inputs", "outputs"))
    out.print(f"{written}: {description['model']}, {description['format']}, {description['dtype']}, "
              f"cut-off {description['cutoff']} Å\n({inputs}) → ({outputs})")
    table = Table(title="largest difference from the model", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("structure", "atoms", "edges", "energy eV/atom", "forces eV/Å", "stress eV/Å³"):
        table.add_column(column, justify="left" if column == "structure" else "right")
    for row in description["parity"]:
        stress = f"{row['stress']:.1e}" if "stress" in row else ""
        table.add_row(row["case"], str(row["atoms"]), str(row["edges"]), f"{row['energy']:.1e}",
                      f"{row['forces']:.1e}", stress)
    out.print(table)
