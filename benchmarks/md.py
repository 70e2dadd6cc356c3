"""Molecular dynamics through ASE: the zoo's calculator against those of nequip, schnetpack and mace-torch.

    python tests/reference/make.py --install-only     once: the peers' environments
    python benchmarks/md.py                           Markdown on standard output, JSON in a file next to it
    python benchmarks/md.py --structures acac 3bpa --families painn --compile
    python benchmarks/md.py --threads 1 --processor-time          on a busy machine

Acetylacetone (15 atoms), 3-(benzyloxy)pyridin-2-amine (27) and cells of silicon. Both sides of a family have the same
hyper-parameters, float32 and the same process settings, each its own neighbour list, conversion from ASE and back; they
take turns. Weights are untrained. A step is one call of the calculator and the integration around it; a time is the
median over all steps, but the neighbour list's share is of the sums, since a list is searched now and then.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench_peers import HERE, ROOT, _machine
from sides import Side, python_of

OURS = ("zoo", "zoo, compiled")
FEMTOSECONDS = 0.5
CUTOFF = 5.0


@dataclass(frozen=True)
class Pairing:
    """A family of the zoo and the engines it runs against; ``zoo`` and each peer with their own words for one thing.

    What follows a hyphen in ``family`` distinguishes two sizes of it.
    """

    family: str
    zoo: dict[str, Any]
    peers: dict[str, dict[str, Any]] = field(default_factory=dict)


MACE_SMALL = {
    "r_max": CUTOFF, "num_bessel": 8, "num_polynomial_cutoff": 5, "max_ell": 3, "num_interactions": 2,
    "hidden_irreps": "128x0e", "MLP_irreps": "16x0e", "avg_num_neighbors": 16.0, "correlation": 3,
}  # fmt: skip
PAIRINGS = (
    Pairing("schnet", {"cutoff": CUTOFF, "num_layers": 6, "num_radial": 50}, {
        "schnetpack": {"n_atom_basis": 128, "n_interactions": 6, "n_rbf": 50, "cutoff": CUTOFF},
    }),
    Pairing("painn", {"cutoff": CUTOFF}, {
        "schnetpack": {"n_atom_basis": 128, "n_interactions": 3, "n_rbf": 20, "cutoff": CUTOFF},
    }),
    Pairing("nequip", {
        "cutoff": CUTOFF, "num_layers": 4, "lmax": 2, "parity": False, "num_features": 32, "radial_depth": 2,
        "radial_width": 64, "type_features": 32, "avg_num_neighbors": 16.0, "first_self_connection": True,
    }, {
        "nequip": {"r_max": CUTOFF, "num_layers": 4, "l_max": 2, "parity": False, "num_features": 32,
                   "radial_mlp_depth": 2, "radial_mlp_width": 64, "avg_num_neighbors": 16.0},
        "mace": MACE_SMALL,
    }),
    Pairing("nequip-si", {  # of the card with this name
        "cutoff": CUTOFF, "num_layers": 2, "lmax": 2, "parity": False, "num_features": [64, 32, 16],
        "radial_depth": 1, "radial_width": 64, "radial_gain": 6.0, "output_lmax": 0,
    }, {}),
)  # fmt: skip


def engine(name: str, family: str, config: dict[str, Any], options: argparse.Namespace) -> Side:
    ours = name in OURS
    python = None if ours else python_of(name, options)
    module = "md_zoo" if ours else f"md_{name}"
    arguments = [module, family.split("-")[0], json.dumps(config), "--memory", str(options.memory)]
    return Side(name, python, "md_worker.py", arguments, options)


def measure(engines: list[Side], structure: str, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What each engine did, by turns; peers are left out of the largest cell."""
    rows, steps = {}, {}
    engines = [e for e in engines if e.name in OURS or structure != "si-100000"]
    for side in engines:
        first = side.ask(structure=structure, steps=1)
        second = side.ask(structure=structure, steps=1) if "steps" in first else first
        if "steps" not in second:
            rows[side.name] = {"out_of_memory": True}
            continue
        rows[side.name] = {"atoms": first["atoms"], "versions": first["versions"], "steps": []}
        steps[side.name] = max(1, round(options.seconds / second["steps"][-1]["seconds"]))
    for turn in range(options.rounds):
        for side in engines if turn % 2 else engines[::-1]:
            if side.name in steps:
                answer = side.ask(structure=structure, steps=steps[side.name])
                if "steps" not in answer:
                    rows[side.name] = {"out_of_memory": True}
                    del steps[side.name]
                    continue
                rows[side.name]["steps"] += answer["steps"]
                rows[side.name]["peak_gb"] = round(answer["peak_gb"], 2)
    return rows


def summary(family: str, structure: str, engine: str, row: dict[str, Any]) -> dict[str, Any]:
    summary = {"family": family, "structure": structure, "engine": engine}
    if "steps" not in row:
        return summary | row
    seconds = median(step["seconds"] for step in row["steps"])
    summary |= {"atoms": row["atoms"], "ms_per_step": round(1e3 * seconds, 3), "peak_gb": row["peak_gb"],
             "ns_per_day": round(86_400 / seconds * FEMTOSECONDS * 1e-6, 4), "steps": len(row["steps"]),
             "versions": row["versions"]}
    if "listing" in row["steps"][0]:
        total = sum(step["seconds"] for step in row["steps"])
        summary["list_share"] = round(sum(step["listing"] for step in row["steps"]) / total, 4)
    return summary


def markdown(report: dict[str, Any]) -> str:
    lines = [f"{report['machine']}, {report['threads']} threads, {report['clock']} time, float32, "
             f"{FEMTOSECONDS} fs a step\n",
             "| structure | family | engine | ms/step | ns/day | zoo faster by | compiled | list | peak GB |",
             "|---|---|---|---|---|---|---|---|---|"]
    ours = {(row["engine"], row["family"], row["structure"]): row for row in report["rows"] if row["engine"] in OURS}
    for row in report["rows"]:
        start = f"| {row['structure']} | {row['family']} | {row['engine']} "
        if "ms_per_step" not in row:
            lines.append(start + f"| more than {report['memory']} GB | | | | | |")
            continue
        ratios = [_ratio(row, ours.get((engine, row["family"], row["structure"]), {})) for engine in OURS]
        share = f"{row['list_share']:.1%}" if "list_share" in row else ""
        lines.append(start + f"| {row['ms_per_step']:.4g} | {row['ns_per_day']:.3g} | {' | '.join(ratios)} | {share} "
                             f"| {row['peak_gb']} |")
    return "\n".join(lines)


def _ratio(row: dict[str, Any], zoo: dict[str, Any]) -> str:
    """How many times faster the zoo is than a row; nothing for a row of its own."""
    if "ms_per_step" not in zoo or zoo["engine"] == row["engine"]:
        return ""
    return f"{row['ms_per_step'] / zoo['ms_per_step']:.2f}×"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", nargs="+", default=["acac", "3bpa", "si-1000", "si-10000", "si-100000"])
    parser.add_argument("--families", nargs="+", choices=[p.family for p in PAIRINGS],
                        default=[p.family for p in PAIRINGS])
    parser.add_argument("--alone", action="store_true", help="the zoo without its peers")
    parser.add_argument("--compile", action="store_true", help="the zoo's compiled calculator as well")
    parser.add_argument("--rounds", type=int, default=6, help="turns of each engine")
    parser.add_argument("--seconds", type=float, default=2.0, help="about so long is a turn, but at least one step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=float, default=16.0, help="GB that one engine may take")
    parser.add_argument("--processor-time", action="store_true",
                        help="seconds of the processor, not of the wall: for a busy machine, with --threads 1")
    parser.add_argument("--peers", type=Path, default=ROOT / "peers")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "md.json")
    options = parser.parse_args()
    report: dict[str, Any] = {
        "machine": _machine(), "threads": options.threads, "memory": options.memory,
        "clock": "processor" if options.processor_time else "wall", "rows": [],
    }  # fmt: skip
    for pairing in PAIRINGS:
        if pairing.family not in options.families:
            continue
        configs = {"zoo": pairing.zoo}
        if options.compile:
            configs["zoo, compiled"] = pairing.zoo | {"compile": True}
        configs |= {} if options.alone else pairing.peers
        engines = [engine(name, pairing.family, config, options) for name, config in configs.items()]
        try:
            for structure in options.structures:
                print(f"{pairing.family}, {structure} …", file=sys.stderr, flush=True)
                rows = measure(engines, structure, options)
                report["rows"] += [summary(pairing.family, structure, name, row) for name, row in rows.items()]
                # Written every time: a run that is stopped keeps what it has.
                options.json.parent.mkdir(parents=True, exist_ok=True)
                options.json.write_text(json.dumps(report, indent=1) + "\n")
        finally:
            for side in engines:
                side.close()
    print(markdown(report))


if __name__ == "__main__":
    main()
