"""The command line. Each command lives in a file of its own, which is imported when the command is used.

Start with ``COMMANDS`` below: it names the function of each command.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from zoo.errors import ZooError, did_you_mean

__all__ = ["COMMANDS", "app", "console", "errors", "main"]

COMMANDS = {
    "list": "zoo.cli.listing:list_models",
    "show": "zoo.cli.showing:show",
    "predict": "zoo.cli.predict:predict",
    "relax": "zoo.cli.relax:relax",
    "md": "zoo.cli.md:md",
    "neb": "zoo.cli.neb:neb",
    "run-ipi": "zoo.cli.run_ipi:run_ipi",
    "train": "zoo.cli.train:train",
    "finetune": "zoo.cli.train:finetune",
    "compare": "zoo.cli.compare:compare",
    "evaluate": "zoo.cli.evaluate:evaluate",
    "export": "zoo.cli.export:export",
    "calibrate": "zoo.cli.calibrate:calibrate",
    "leaderboard": "zoo.cli.leaderboard:leaderboard",
    "gallery": "zoo.cli.gallery:gallery",
    "check": "zoo.cli.check:check",
    "new": "zoo.cli.new:new",
    "import": "zoo.cli.importing:import_weights",
    "plugins": "zoo.cli.plugins:plugins",
    "pull": "zoo.cli.hub:pull",
    "push": "zoo.cli.hub:push",
    "publish": "zoo.cli.hub:publish",
    "cache": "zoo.cli.hub:cache",
    "registry": "zoo.cli.hub:registry",
    "data": "zoo.cli.hub:data",
    "lab": "zoo.cli.lab:lab",
    "env": "zoo.cli.env:env",
}
"""Function or group of each command, in the order of ``zoo --help``. Its file imports torch inside functions only."""

PIPE_WIDTH = 160


def console() -> Console:
    """Standard output; wide enough not to cut tables when it is a pipe."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def errors() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False)


class _LazyGroup(TyperGroup):
    """A command group that imports a command's file when that command is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            ctx.fail(f"No such command '{cmd_name}'{did_you_mean(cmd_name, COMMANDS)}")
        module, _, function = COMMANDS[cmd_name].partition(":")
        target = getattr(import_module(module), function)
        command: Any
        if isinstance(target, typer.Typer):
            command = typer.main.get_group(target)
        else:
            single = typer.Typer(add_completion=False, context_settings=_SETTINGS)
            single.command(cmd_name)(target)
            command = typer.main.get_command(single)
        command.name = cmd_name
        return command


_SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(cls=_LazyGroup, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  context_settings=_SETTINGS)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"zoo (geometric-zoo {version('geometric-zoo')})")
        raise typer.Exit


@app.callback()
def _zoo(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A zoo of geometric graph neural networks: list, inspect, use, train and share trained models."""


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``zoo``. A :class:`ZooError` is printed in red and ends with status 2, as does a full disk."""
    try:
        try:
            app(args=None if arguments is None else list(arguments), prog_name="zoo")
        finally:
            sys.stdout.flush()
    except ZooError as error:
        errors().print(Text(f"error: {error}", style="red"), soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever reads has enough, such as head
            _forget_output()
            sys.exit(1)
        if error.errno not in _NO_ROOM:
            raise
        where = f"{error.filename}: " if error.filename else "the output cannot be written: "
        errors().print(Text(f"error: {where}{error.strerror}. Fix: make room, or write elsewhere.", style="red"),
                       soft_wrap=True)
        _forget_output()
        sys.exit(2)


def _forget_output() -> None:
    """What is left in the buffer of standard output would fail again when Python ends."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
