"""`zoo lab`: experiments with symmetry and expressivity; measurements of force fields."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.delta import delta
from zoo.cli.measuring import add_to
from zoo.errors import ZooError
from zoo.files.atomic_writes import keep_older
from zoo.files.strict_json import json_text

__all__ = ["lab"]

lab = typer.Typer(name="lab", no_args_is_help=True, help="Experiments with symmetry, expressivity and force fields.")
add_to(lab)
lab.command("delta")(delta)

_X, _Y = "-0.1222,-0.7573,1.0416", "0.3303,0.5315,-1.0235"


@lab.command("symmetry")
def symmetry(
    name: Annotated[str | None, typer.Argument(help="A model whose equivariance is measured.")] = None,
    structure: Annotated[Path | None, typer.Argument(help="A structure file; ethanol if absent.")] = None,
    x: Annotated[str, typer.Option(help="First vector, a,b,c.")] = _X,
    y: Annotated[str, typer.Option(help="Second vector.")] = _Y,
    irreps: Annotated[str, typer.Option(help="Irreps of the two vectors, such as '1o,1e'.")] = "1o,1e",
    matrix: Annotated[
        str | None, typer.Option(help="Rotation matrix, nine numbers row by row; the nearest rotation is used.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random rotation.")] = 0,
    improper: Annotated[bool, typer.Option("--improper", help="Rotate and reflect.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Draw the result to a .png file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Tensor products of two vectors before and after a rotation; or the equivariance error of a trained model."""
    if name is None:
        _products(x, y, irreps, matrix, seed, improper, picture, as_json)
    else:
        _model(name, structure, seed, picture, as_json)


@lab.command("expressivity")
def expressivity(
    names: Annotated[list[str] | None, typer.Argument(help="Architectures or trained models; the five families if "
                                                           "absent.")] = None,
    experiments: Annotated[
        str, typer.Option(help="Any of pairs,chains,stars,picasso, or 'all'. picasso trains models and takes minutes.")
    ] = "pairs,chains,stars",
    layers: Annotated[str, typer.Option(help="Numbers of layers to try.")] = "1,2,3,4,5",
    seeds: Annotated[int, typer.Option(min=1, help="Random initialisations for each number of layers.")] = 3,
    picture: Annotated[Path | None, typer.Option(help="Draw pairs and chains to a .png file.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Tables in Markdown on standard output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Which pairs of structures an architecture distinguishes, and how many layers it needs."""
    from zoo.cli.expressivity import run

    run(names or None, experiments, layers, seeds, picture, markdown, as_json)


def _products(x: str, y: str, irreps: str, matrix: str | None, seed: int, improper: bool, picture: Path | None,
              as_json: bool) -> None:
    import torch

    from zoo.lab import symmetry as lab_symmetry
    from zoo.nn.rotations import random_rotation

    first, _, second = irreps.partition(",")
    rotation = random_rotation(seed) if matrix is None else lab_symmetry.nearest_rotation(
        torch.tensor(_numbers(matrix, 9, "--matrix")).reshape(3, 3))
    rotation = -rotation if improper else rotation
    basis, result = lab_symmetry.change_of_basis(first, second)
    kron = lab_symmetry.representation(first, second, rotation)
    blocks = basis.T @ kron @ basis
    off = float((blocks - lab_symmetry.block_diagonal(result, rotation)).abs().max())
    data: dict[str, Any] = {"irreps": f"{first} ⊗ {second} = {result}", "R": rotation.tolist(), "error of QᵀDQ": off}
    if {first, second} <= {"1o", "1e"}:
        one, other = (torch.tensor(_numbers(text, 3, option)) for text, option in ((x, "--x"), (y, "--y")))
        before = lab_symmetry.products(one, other, irreps_x=first, irreps_y=second)
        data["products"] = {
            t.name: {"irreps": t.irreps, "before": getattr(before, t.name).tolist(), "after": t.of_factors.tolist(),
                     "error": t.error}
            for t in lab_symmetry.transformed(one, other, rotation, irreps_x=first, irreps_y=second)
        }
    if picture is not None:
        from zoo.lab.pictures import draw_representations

        with keep_older(picture):
            draw_representations([(f"{first} ⊗ {second}", kron), (result, blocks)], picture)
    typer.echo(json_text(data)) if as_json else _print_products(data)


def _print_products(data: dict[str, Any]) -> None:
    import numpy as np
    from rich.table import Table

    from zoo.cli import console

    out = console()
    out.print(data["irreps"], style="bold")
    out.print("R =", np.array2string(np.asarray(data["R"]), precision=4, suppress_small=True))
    if "products" in data:
        table = Table(title="the product of the transformed vectors equals the transformed product")
        for column in ("product", "irreps", "before", "after", "difference"):
            table.add_column(column)
        for name, row in data["products"].items():
            shown = [np.array2string(np.asarray(row[k]), precision=4, suppress_small=True) for k in ("before", "after")]
            table.add_row(name, row["irreps"], *shown, f"{row['error']:.1e}")
        out.print(table)
    out.print(f"Q turns D₁⊗D₂ into blocks up to {data['error of QᵀDQ']:.1e}")


def _model(name: str, structure: Path | None, seed: int, picture: Path | None, as_json: bool) -> None:
    import ase.build

    from zoo.lab.equivariance import equivariance
    from zoo.loading.models import load
    from zoo.structures.reading import read_structures

    atoms: Any = ase.build.molecule("CH3CH2OH")
    if structure is not None:
        read = next(iter(read_structures([structure])))
        if read.error is not None:
            raise read.error
        atoms = read.atoms
    model = load(name, dtype="float64")
    rows = equivariance(model, atoms, seed=seed)
    if picture is not None:
        from zoo.lab.pictures import draw_equivariance

        with keep_older(picture):
            draw_equivariance(rows, picture, title=f"{name} on {atoms.get_chemical_formula()}")
    if as_json:
        typer.echo(json_text([{**vars(row), "relative": row.relative} for row in rows]))
        return
    from rich.table import Table

    from zoo.cli import console

    table = Table(title=f"{name} on {atoms.get_chemical_formula()}: |f(Rx) − D(R) f(x)|")
    for column in ("of", "dtype", "rotations", "with reflection", "rms of f", "relative"):
        table.add_column(column, justify="left" if column in ("of", "dtype") else "right")
    for row in rows:
        table.add_row(row.of, row.dtype, *(f"{v:.1e}" for v in (row.proper, row.improper, row.size, row.relative)))
    console().print(table)


def _numbers(text: str, count: int, option: str) -> list[float]:
    try:
        values = [float(part) for part in text.replace(";", ",").split(",")]
    except ValueError:
        values = []
    if len(values) != count:
        raise ZooError(f"{option} {text!r}: expected {count} numbers separated by commas. Fix: write them like "
                       f"{option} {','.join(map(str, range(1, count + 1)))}")
    return values
