"""A side of a comparison: a process of its own, in its own environment, that answers JSON lines with JSON lines."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["Side", "python_of"]

PEERS = Path(__file__).resolve().parent / "peers"


def python_of(environment: str, options: argparse.Namespace) -> Path:
    """The interpreter of a peer's environment, which ``tests/reference/make.py`` makes."""
    python = options.peers / environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        raise SystemExit(f"{python} is not there: python tests/reference/make.py --install-only")
    return python


class Side:
    """A process that lives until :meth:`close`, with the threads and the clock of ``options``.

    Args:
        name: for the message when it ends before its time.
        python: interpreter; ``None`` for this one.
        script: in ``peers``. arguments: of the script.

    Attributes:
        about: its first answer, when it was ready.
    """

    def __init__(self, name: str, python: Path | None, script: str, arguments: list[str],
                 options: argparse.Namespace) -> None:
        self.name = name
        command = [str(python or sys.executable), "-W", "ignore", str(PEERS / script), *arguments,
                   "--threads", str(options.threads)]
        command += ["--processor-time"] * options.processor_time
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment |= {"OMP_NUM_THREADS": str(options.threads)}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)
        self.about = self._reply()

    def ask(self, **command: Any) -> dict[str, Any]:
        """Its answer to a command."""
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        for line in self.process.stdout:
            if line.startswith("@@"):
                return json.loads(line[2:])
        raise SystemExit(f"{self.name} ended with status {self.process.wait()}")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
