"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Compile", "Periodic"]

Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the model first: a minute or two, once; faster for small systems.")]
Periodic = Annotated[bool, typer.Option("--pbc/--no-pbc", help="--no-pbc: the cell is only a box around a molecule; it "
                                                                "is left out.")]
