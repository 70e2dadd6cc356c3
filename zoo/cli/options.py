"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Compile"]

Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the model first: a minute or two, once; faster for small systems.")]
