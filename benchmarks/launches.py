"""What one step costs a CUDA device in launches, counted on a pretend one: no GPU is needed, a C++ compiler is.

    python benchmarks/launches.py [--families painn,nequip] [--only forces,dynamics] [--sites] [--json FILE]

Per step: kernels | times that the host waits for the device | copies that the host waits for. These are counts, not
times. The path is the one that a CUDA device takes; see tests/pretend_cuda/device.py for what it does not cover.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from pretend_cuda import guard

FAMILIES = ("schnet", "painn", "nequip", "dimenet", "gemnet")
STEPS = {
    "energy": "training on energies, 30 molecules, AdamW",
    "forces": "training on forces, 5 molecules, AdamW",
    "soap": "training on forces, 5 molecules, SOAP, mean of 10 steps",
    "dynamics": "step of molecular dynamics, 1 molecule",
}
SEARCHES = ("64 molecules", "8 atoms of silicon", "16 crystals of 8 atoms", "1000 atoms of silicon",
            "crystals, slab and molecules")
PHASES = ("batch", "forward", "loss", "first derivatives", "second derivatives", "optimizer")


def counted(step: str, family: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of the table: what was counted, and the counts."""
    if step == "dynamics":
        found = guard.measure("dynamics", family, "1")
        yield "step of molecular dynamics, 1 molecule", found["step"]
        yield "the same with a neighbor search", found["step with a search"]
    else:
        labels, optimizer = ("forces", "soap") if step == "soap" else (step, "adamw")
        yield STEPS[step], guard.measure("train", family, labels, optimizer)


def line(name: str, counts: dict[str, Any]) -> str:
    phases = [f"{counts['phases'][phase]:,.0f}" if phase in counts["phases"] else "" for phase in PHASES]
    cells = [name, f"{counts['kernels']:,.0f}", f"{counts['syncs']:.3g}", f"{counts['blocking']:.3g}", *phases]
    return f"| {' | '.join(cells)} |"


def sites(counts: dict[str, Any]) -> Iterator[str]:
    for kind in ("sync sites", "copy sites"):
        for site, n in counts[kind].items():
            yield f"    {n:6g}  {site}"
    for site, n in list(counts["kernel sites"].items())[:12]:
        yield f"    {n:6g}  kernels, {site}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--only", default=",".join((*STEPS, "search")), help="energy, forces, soap, dynamics, search")
    parser.add_argument("--sites", action="store_true", help="where in the code the device waits, copies and launches")
    parser.add_argument("--json", type=Path, help="write all counts to this file")
    options = parser.parse_args()
    if (reason := guard.why_not()) is not None:
        sys.exit(reason)
    only, kept = options.only.split(","), {}
    print(f"| | kernels | waits | blocking copies | {' | '.join(PHASES)} |\n|{'---|' * (4 + len(PHASES))}")
    for step in (step for step in STEPS if step in only):
        for family in options.families.split(","):
            for name, counts in counted(step, family):
                kept[f"{family}, {name}"] = counts
                print(line(f"{family}, {name}", counts), flush=True)
    for kind in SEARCHES if "search" in only else ():
        kept[f"search, {kind}"] = counts = guard.measure("search", kind)
        print(line(f"neighbor search, {kind}", counts), flush=True)
    if options.sites:
        for name, counts in kept.items():
            print(f"\n{name}:\n" + "\n".join(sites(counts)))
    if options.json is not None:
        options.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
