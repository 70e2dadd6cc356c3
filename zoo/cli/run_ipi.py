"""`zoo run-ipi`: a model as the forces of i-PI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.options import Compile, Periodic

__all__ = ["run_ipi"]


def run_ipi(
    file: Annotated[Path, typer.Argument(help="Structure with the elements in i-PI's order; positions and cell come "
                                              "from i-PI.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A model of `zoo list`, a card folder, or "
                                                             "hf:org/repo[@rev].")],
    socket: Annotated[str | None, typer.Option(help="Name of the UNIX socket, as <address> in i-PI's input.")] = None,
    host: Annotated[str, typer.Option(help="Of an internet socket, without --socket.")] = "localhost",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of an internet socket.")] = 31415,
    wait: Annotated[float, typer.Option(min=0, help="Seconds until somebody has to listen there.")] = 30.0,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float64",
    pbc: Periodic = True,
    compile: Compile = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing at the end.")] = False,
) -> None:
    """Give i-PI energies, forces and virials of a model through a socket, until i-PI ends."""
    from zoo.cli import errors
    from zoo.engines.ipi import run_client
    from zoo.errors import StructureError
    from zoo.loading.models import load
    from zoo.process import machine
    from zoo.structures.reading import read_structures

    reads = list(read_structures([file], pbc=pbc))
    if len(reads) != 1:
        raise StructureError(f"{file} has {len(reads)} structures, and i-PI moves one. Fix: give a file with one.")
    if reads[0].atoms is None:
        raise reads[0].error or StructureError(f"{file} cannot be read. Fix: check the file.")
    machine.keep_memory()
    field = load(model, device=device, dtype=dtype)
    sent = run_client(field, reads[0].atoms, socket=socket, host=host, port=port, wait=wait, compile=compile)
    if not quiet:
        errors().print(f"{file}: forces sent {sent} times", soft_wrap=True)
