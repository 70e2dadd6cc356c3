"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Compile"]

Compile = Annotated[bool, typer.Option("--compile", help="Compile the model for this machine first: a minute or two, "
                                                         "once; pays for small systems.")]
