"""What the commands that describe cost: processor seconds of a whole process, next to the libraries it needs.

    python benchmarks/describe.py

Ends with status 1 when one takes half a second or more. The tests ask only that nothing heavy is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys

COMMANDS = ("list", "plugins", "show painn", "show nequip-acac")
LIBRARIES = "import typer, pydantic.types, yaml, rich.table, rich.console"
BOUND_S = 0.5


def processor_seconds(*arguments: str) -> float:
    """The best of five, which leaves out cold file caches."""
    spent = []
    for _ in range(5):
        before = os.times()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(spent)


def main() -> int:
    """Measure, print, and judge."""
    print(f"{'interpreter':20} {processor_seconds('-c', 'pass'):.2f} s")
    print(f"{'light libraries':20} {processor_seconds('-c', LIBRARIES):.2f} s")
    slow = []
    for command in COMMANDS:
        seconds = processor_seconds("-m", "zoo", *command.split())
        print(f"{'zoo ' + command:20} {seconds:.2f} s")
        slow += [command] if seconds >= BOUND_S else []
    if slow:
        print(f"{BOUND_S} s or more: {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
