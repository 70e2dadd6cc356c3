"""`zoo predict`: structures from files or SMILES to a table, JSON, CSV or extended XYZ."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from zoo.errors import StructureError, ZooError
from zoo.process.progress import progress

if TYPE_CHECKING:
    import ase
    from rich.table import Table

    from zoo.model.model import Model
    from zoo.structures.reading import Read

__all__ = ["predict"]

_CHUNK = 256
_SIDE_BY_SIDE = 3
_MARK, _BELOW = " [yellow]![/]", "\n"


@dataclass
class Predicted:
    """One structure and what became of it."""

    label: str
    read: Read
    values: dict[str, Any] = field(default_factory=dict)
    error: ZooError | None = None
    widths: dict[str, float] | None = None
    outside: list[str] | None = None

    @property
    def atoms(self) -> ase.Atoms:
        """The structure, of a row without an error."""
        assert self.read.atoms is not None
        return self.read.atoms

    def width(self, target: str) -> float | None:
        """Half-width of the interval of a value, if there is one."""
        return (self.widths or {}).get(target)


def predict(
    name: Annotated[str, typer.Argument(help="A model of `zoo list`, a card folder, or hf:org/repo[@rev].")],
    files: Annotated[list[Path] | None, typer.Argument(help="Structure files of any format that ASE reads.")] = None,
    smiles: Annotated[list[str] | None, typer.Option(help="A SMILES instead of a file (repeatable).")] = None,
    forces: Annotated[bool, typer.Option("--forces", help="Also forces (in --json and --output).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on standard output.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Structures with results, .extxyz.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    max_atoms: Annotated[int, typer.Option(help="Atoms per batch.")] = 4096,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty/--no-uncertainty", help="Error estimates (±); warnings outside the data.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Predict properties of molecules or crystals. What cannot be read or predicted is named, the rest is kept."""
    from zoo.loading.models import load
    from zoo.process import machine

    if not files and not smiles:
        raise StructureError("nothing to predict. Fix: name structure files, or use --smiles CCO")
    if as_json and as_csv:
        raise ZooError("--json and --csv exclude each other. Fix: choose one of them")
    machine.keep_memory()
    model = load(name, device=device, dtype=dtype)
    rows = [_row(read) for read in _read(files or [], smiles or [])]
    _run(model, rows, derivatives=["forces"] if forces else [], max_atoms=max_atoms, quiet=quiet,
         uncertainty=uncertainty and _has_estimates(model))
    if output is not None:
        _write(output, rows)
    if as_json:
        typer.echo(json.dumps(_as_data(model, rows), indent=1))
    elif as_csv:
        typer.echo(_as_csv(model, rows), nl=False)
    else:
        _show(model, rows)
    _notes(model, rows, output=output, smiles=bool(smiles), quiet=quiet)
    if any(row.error for row in rows):
        raise typer.Exit(2)


def _read(files: Sequence[Path], smiles: Sequence[str]) -> list[Read]:
    from zoo.structures.reading import Read, from_smiles, read_structures

    reads = list(read_structures(files))
    for text in smiles:
        try:
            reads.append(Read(text, from_smiles(text)))
        except StructureError as error:
            reads.append(Read(text, None, error))
    return reads


def _row(read: Read) -> Predicted:
    return Predicted(read.label, read, error=read.error)


def _has_estimates(model: Model) -> bool:
    """Whether the model has error estimates; one that never had any is not worth a warning."""
    from zoo.uncertainty import find

    return model.card is not None and model.card.uncertainty is not None and find(model) is not None


def _run(model: Model, rows: list[Predicted], *, derivatives: list[str], max_atoms: int, quiet: bool,
         uncertainty: bool) -> None:
    good = [row for row in rows if row.error is None]
    with progress("predict", "structures", quiet=quiet or len(good) <= _CHUNK) as tell:
        for start in range(0, len(good), _CHUNK):
            part = good[start : start + _CHUNK]
            results = model.predict([row.atoms for row in part], derivatives=derivatives, max_atoms=max_atoms,
                                    uncertainty=uncertainty, on_error="keep")
            for row, result in zip(part, results):
                if isinstance(result, ZooError):
                    row.error = result
                else:
                    row.widths = result.pop("uncertainty", None)
                    row.outside = result.pop("outside", None)
                    row.values = result
            tell(start + len(part), len(good))


def _reference(row: Predicted, target: str) -> float | None:
    """The value that the file itself carries under the target's name."""
    value = row.read.atoms.info.get(target) if row.read.atoms is not None else None
    return float(value) if value is not None and np.ndim(value) == 0 and not isinstance(value, str) else None


def _show(model: Model, rows: list[Predicted]) -> None:
    from zoo.cli import console as standard_output

    console = standard_output()
    done = [row for row in rows if row.error is None]
    for start in range(0, len(done), _SIDE_BY_SIDE) if len(done) <= 3 * _SIDE_BY_SIDE else ():
        console.print(_columns(model, done[start : start + _SIDE_BY_SIDE]))
    if len(done) > 3 * _SIDE_BY_SIDE:
        console.print(_lines(model, done))
        console.print("(--csv and --json give every digit)", style="dim")
    if any(row.widths for row in done):
        level = _level(model)
        console.print(f"± holds {level:.0%} of all errors for structures like those trained on"
                      f"{'; ! marks others' if any(row.outside for row in done) else ''}", style="dim")
    errors = _mean_errors(model, done)
    if errors is not None:
        console.print(errors)


def _columns(model: Model, rows: list[Predicted]) -> Table:
    """A few structures beside each other, one property a line, with the error where the file has a reference."""
    from rich.table import Table

    table = Table(title=_title(model))
    table.add_column("property")
    table.add_column("unit")
    for row in rows:
        formula = row.atoms.get_chemical_formula()
        label = row.label if row.label == formula else f"{row.label}\n{formula}"
        table.add_column(f"{label}{_MARK if row.outside else ''}", justify="right")
    for target, unit in model.units.items():
        cells = []
        for row in rows:
            reference = _reference(row, target)
            text = _number(row.values[target]) + _plus_minus(row.width(target))
            cells.append(text if reference is None else f"{text}\n[dim]ref {_number(reference)}[/]")
        table.add_row(target, unit, *cells)
    return table


def _lines(model: Model, rows: list[Predicted]) -> Table:
    from rich.table import Table

    table = Table(title=_title(model))
    table.add_column("structure")
    for target, unit in model.units.items():
        table.add_column(f"{target}\n{unit}", justify="right")
    for row in rows:
        cells = [f"{_number(row.values[t])}{_plus_minus(row.width(t), separator=_BELOW)}" for t in model.units]
        table.add_row(f"{row.label}{_MARK if row.outside else ''}", *cells)
    return table


def _level(model: Model) -> float:
    from zoo.uncertainty import find

    found = find(model)
    assert found is not None, "there are widths"
    return found.facts.level


def _mean_errors(model: Model, rows: list[Predicted]) -> Table | None:
    """Mean absolute errors over the structures whose file carries a reference."""
    from rich.table import Table

    table = Table(title="against the reference values in the files")
    for name in ("property", "unit", "mean absolute error", "largest", "n"):
        table.add_column(name, justify="left" if name in ("property", "unit") else "right")
    for target, unit in model.units.items():
        errors = [abs(row.values[target] - ref) for row in rows
                  if np.ndim(row.values[target]) == 0 and (ref := _reference(row, target)) is not None]
        if errors:
            table.add_row(target, unit, f"{np.mean(errors):.4g}", f"{max(errors):.4g}", str(len(errors)))
    return table if table.row_count else None


def _plus_minus(width: float | None, separator: str = " ") -> str:
    """``± w`` with two significant digits; nothing without an estimate."""
    if width is None:
        return ""
    digits = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 0
    return f"{separator}[dim]± {width:,.{digits}f}[/]"


def _title(model: Model) -> str:
    return model.card.name if model.card else "untrained model"


def _number(value: float | np.ndarray) -> str:
    if np.ndim(value):
        return np.array2string(np.asarray(value), precision=4, separator=", ")
    number = float(value)
    return f"{number:,.4f}" if abs(number) < 1e6 else f"{number:.6g}"


def _as_data(model: Model, rows: list[Predicted]) -> dict[str, Any]:
    results: list[dict[str, Any]] = []
    for row in rows:
        if row.error is not None:
            results.append({"structure": row.label, "error": str(row.error)})
            continue
        values = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in row.values.items()}
        references = {t: ref for t in model.units if (ref := _reference(row, t)) is not None}
        estimate = {} if row.widths is None else {"uncertainty": row.widths, "outside": row.outside}
        results.append({"structure": row.label, "formula": row.atoms.get_chemical_formula(), "values": values,
                        **estimate, **({"reference": references} if references else {})})
    level = {"uncertainty_level": _level(model)} if any(row.widths is not None for row in rows) else {}
    return {"model": _title(model), "units": model.units, **level, "results": results}


def _as_csv(model: Model, rows: list[Predicted]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    estimated = dict.fromkeys(target for row in rows for target in row.widths or ())
    columns = [*(f"± {target} [{model.units[target]}]" for target in estimated), *(["outside"] if estimated else [])]
    writer.writerow(["structure", *(f"{target} [{unit}]" for target, unit in model.units.items()), *columns, "error"])
    for row in rows:
        cells = [_cell(row.values.get(target, "")) for target in model.units]
        cells += [_cell((row.widths or {}).get(target, "")) for target in estimated]
        cells += ["; ".join(row.outside or ())] if estimated else []
        writer.writerow([row.label, *cells, row.error or ""])
    return text.getvalue()


def _cell(value: Any) -> Any:
    return " ".join(map(repr, np.ravel(value).tolist())) if isinstance(value, np.ndarray) else value


def _write(path: Path, rows: list[Predicted]) -> None:
    """All predicted structures with their values, as extended XYZ; the file appears whole."""
    from zoo.structures.reading import write_structures

    frames = []
    for row in rows:
        if row.error is None:
            atoms = row.atoms.copy()
            for key, value in row.values.items():
                if key == "forces":
                    atoms.arrays["predicted_forces"] = value
                else:
                    atoms.info[f"predicted_{key}"] = value
            for key, width in (row.widths or {}).items():
                atoms.info[f"uncertainty_{key}"] = width
            if row.outside:
                atoms.info["outside"] = "; ".join(row.outside)
            frames.append(atoms)
    write_structures(path, frames)


def _notes(model: Model, rows: list[Predicted], *, output: Path | None, smiles: bool, quiet: bool) -> None:
    failed = [row for row in rows if row.error is not None]
    for row in failed:
        typer.secho(f"error: {row.label}: {row.error}", fg="red", err=True)
    if failed:
        typer.secho(f"{len(failed)} of {len(rows)} structures failed", fg="red", err=True)
    if quiet:
        return
    for row in rows:
        if row.outside:
            typer.secho(f"warning: {row.label} is outside the training data: {'; '.join(row.outside)}. Its errors "
                        "may be larger than ± says", fg="yellow", err=True)
    if output is not None:
        typer.echo(f"wrote {len(rows) - len(failed)} structures to {output}", err=True)
    if smiles:
        typer.echo("geometries from SMILES are RDKit conformers (ETKDG, then MMFF94), not minima of the model's "
                   "level of theory: expect larger errors", err=True)
    sys.stderr.flush()
