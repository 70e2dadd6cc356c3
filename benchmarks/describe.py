"""What the commands that describe cost: processor seconds of a whole process, next to the libraries it needs.

    python benchmarks/describe.py

Ends with status 1 when one takes longer than its bound. The tests ask only that nothing heavy is imported.
"""

from __future__ import annotations

import os
import subprocess
import sys

WORK = {
    "import zoo": (("-c", "import zoo"), 0.1),
    "zoo list": (("-m", "zoo", "list"), 0.4),
    "zoo plugins": (("-m", "zoo", "plugins"), 0.5),
    "zoo show painn": (("-m", "zoo", "show", "painn"), 0.5),
    "zoo show nequip-acac": (("-m", "zoo", "show", "nequip-acac"), 0.5),
}
"""Arguments of the interpreter, and the bound in seconds on an idle machine."""
LIBRARIES = "import typer, pydantic.types, yaml, rich.table, rich.console"


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
    for name, (arguments, bound) in WORK.items():
        seconds = processor_seconds(*arguments)
        print(f"{name:20} {seconds:.2f} s, bound {bound} s")
        slow += [name] if seconds > bound else []
    if slow:
        print(f"above the bound: {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
