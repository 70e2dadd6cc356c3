"""`zoo relax`: relaxation of structures, all in one batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.options import Compile
from zoo.process.progress import progress

if TYPE_CHECKING:
    import ase

    from zoo.model.model import Model

__all__ = ["relax"]


def relax(
    files: Annotated[list[Path], typer.Argument(help="Structure files of any format that ASE reads.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A model of `zoo list`, a card folder, or "
                                                             "hf:org/repo[@rev].")],
    fmax: Annotated[float, typer.Option(help="Largest force at the end, eV/Å.")] = 0.05,
    steps: Annotated[int, typer.Option(min=0, help="Largest number of steps.")] = 500,
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell as well.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Relaxed structures, .extxyz; "
                                                                       "FILE-relaxed.extxyz if absent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float64",
    max_atoms: Annotated[int, typer.Option(help="Atoms per batch.")] = 4096,
    compile: Compile = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Relax molecules or crystals with FIRE. Exit status 1 if a structure did not converge."""
    from zoo.cli import errors
    from zoo.loading.models import load
    from zoo.process import machine
    from zoo.simulation import relax as run
    from zoo.structures.reading import read_structures, write_structures

    reads = list(read_structures(files))
    for read in reads:
        if read.error is not None:
            raise read.error
    frames = [read.atoms for read in reads if read.atoms is not None]
    machine.keep_memory()
    field = load(model, device=device, dtype=dtype)
    screen = errors()
    with progress("relax", "converged", quiet=quiet, screen=screen) as report:
        relaxed = run(field, frames, fmax=fmax, steps=steps, cell=cell, max_atoms=max_atoms, compile=compile,
                      progress=lambda done, of, force: report(done, of, f"largest force {force:.3f} eV/Å"))
    output = output or files[0].with_name(f"{files[0].name.split('.')[0]}-relaxed.extxyz")
    write_structures(output, relaxed)
    rows = [_row(read.label, before, after) for read, before, after in zip(reads, frames, relaxed)]
    if as_json:
        typer.echo(json.dumps({"model": model, "fmax": fmax, "results": rows}, indent=1))
    else:
        _show(field, rows)
    if not quiet:
        screen.print(f"wrote {len(relaxed)} structures to {output}", soft_wrap=True)
    lost = [row["structure"] for row in rows if not row["converged"]]
    if lost:
        screen.print(f"not converged: {', '.join(lost)}", style="red", soft_wrap=True)
        raise typer.Exit(1)


def _row(label: str, before: ase.Atoms, after: ase.Atoms) -> dict[str, Any]:
    import numpy as np

    moved = after.get_positions() - before.get_positions()
    row = {"structure": label, "formula": after.get_chemical_formula(), "energy_eV": after.get_potential_energy(),
           "fmax_eV_A": after.info["relax_fmax"], "steps": int(after.info["relax_steps"]),
           "converged": bool(after.info["relax_converged"]),
           "largest_move_A": float(np.linalg.norm(moved, axis=1).max())}
    return row | ({"volume_A3": float(after.get_volume())} if after.pbc.all() else {})


def _show(model: Model, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from zoo.cli import console

    table = Table(title=f"relaxed with {model.card.name}" if model.card else "relaxed")
    for column in ("structure", "formula", "energy / eV", "largest force / eV/Å", "largest move / Å", "steps", ""):
        table.add_column(column, justify="left" if column in ("structure", "formula", "") else "right")
    for row in rows:
        table.add_row(row["structure"], row["formula"], f"{row['energy_eV']:.4f}", f"{row['fmax_eV_A']:.4f}",
                      f"{row['largest_move_A']:.3f}", str(row["steps"]), "" if row["converged"] else "not converged")
    console().print(table)
