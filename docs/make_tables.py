"""Write the tables that stand between markers in the documentation, from the cards; `--check` only compares.

    python docs/make_tables.py [--check]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from zoo.cards.card import Card
from zoo.cli.stability import holes
from zoo.evaluation.leaderboard import boards
from zoo.evaluation.leaderboard_tables import markdown
from zoo.registry.registry_file import read_registry

ROOT = Path(__file__).resolve().parents[1]
FILES = ("README.md", "docs/force-fields.md", "docs/leaderboard.md")
FAMILIES = ("schnet", "dimenet", "gemnet", "painn", "nequip")


def main() -> int:
    stale = []
    for name in FILES:
        path = ROOT / name
        old = path.read_text(encoding="utf-8")
        new = old
        for marker, make in TABLES.items():
            new = re.sub(rf"(<!-- {marker} -->\n).*?(?=<!-- /{marker} -->)", rf"\g<1>{make()}", new, flags=re.S)
        if new != old:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    for name in stale:
        print(f"{name}: {'is stale, run make docs' if '--check' in sys.argv else 'written'}")
    return 1 if stale and "--check" in sys.argv else 0


def qm9_table() -> str:
    """Test errors of the bundled QM9 models, one column a model."""
    cards = [Card.load(ROOT / "cards" / f"{family}-qm9") for family in FAMILIES]
    lines = ["| test MAE | unit | " + " | ".join(f"`{card.name}`" for card in cards) + " |",
             "|---|---|" + "---:|" * len(cards)]
    for target in cards[0].targets:
        found = [error(card, target, "mae") for card in cards]
        unit = next((u for _, u in found if u), cards[0].targets[target].unit)
        values = " | ".join(f"{v:.4g}" if v is not None else "–" for v, _ in found)
        lines.append(f"| {target} | {unit} | {values} |")
    sizes = " | ".join(f"{c.weights.parameters:,}" if c.weights else "–" for c in cards)
    lines.append(f"| parameters | | {sizes} |")
    lines.append("| hours of training | | " + " | ".join(
        f"{c.training.all_hours:.2g}" if c.training.hours is not None else "–" for c in cards) + " |")
    return "\n".join(lines) + "\n"


def force_field_table() -> str:
    """Test errors of the bundled force fields, one row a model."""
    lines = ["| model | energy, meV | meV/atom | forces, meV/Å | stress, meV/Å³ | trained on | parameters | hours |",
             "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for card in cards_by_system():
        if not card.derivatives or card.weights is None:
            continue
        energy = next(iter(card.targets))
        wanted = ((energy, "rmse"), (energy, "rmse_per_atom"), ("forces", "rmse"), ("stress", "rmse"))
        errors = " | ".join(short(error(card, *pair)[0]) for pair in wanted)
        lines.append(f"| `{card.name}` | {errors} | {card.data.split.train} | {card.weights.parameters:,} | "
                     f"{card.training.all_hours:.2g} |")
    return "\n".join(lines) + "\n"


def stability_table() -> str:
    """How the bundled force fields bear being run, one row a model that was."""
    lines = ["| model | energy drift, meV/atom in 10 ps | largest deviation | keep their bonds at 300 K | at 600 K |",
             "|---|---:|---:|---:|---:|"]
    for card, measured in measured_by("nve", "nvt"):
        nve, nvt = measured.get("nve", {}), measured.get("nvt", {}).get("at", {})
        runs = [f"{r['survived']} of {r['of']}" if (r := nvt.get(t)) else "–" for t in ("300 K", "600 K")]
        energies = [f"{nve[key]:.2g}" if key in nve else "–" for key in
                    ("drift_meV_per_atom", "largest_deviation_meV_per_atom")]
        lines.append(f"| `{card.name}` | " + " | ".join(energies + runs) + " |")
    return "\n".join(lines) + "\n"


def crystal_table() -> str:
    """What the bundled force fields make of a crystal, one row a model that was asked."""
    points = ("Γ", "X", "L")
    lines = ["| model | crystal | lattice constant, Å | bulk modulus, GPa | " + " | ".join(points)
             + " | off by finite displacement |", "|---|---|---:|---:|" + "---|" * len(points) + "---:|"]
    for card, measured in measured_by("equation_of_state", "phonons"):
        eos, phonons = measured.get("equation_of_state", {}), measured.get("phonons", {})
        row = [f"`{card.name}`", eos.get("structure") or phonons["structure"],
               f"{eos['lattice_A'][0]:.3f}" if eos else "–", f"{eos['bulk_modulus_GPa']:g}" if eos else "–"]
        for point in points:
            found = phonons.get("points", {}).get(point, {}).get("THz", [])
            # Frequencies that symmetry makes equal are told once; what rounding leaves of zero has no sign.
            once = [value for value, before in zip(found, [None, *found]) if before is None or value - before > 0.005]
            row.append(" · ".join(f"{round(value, 2) + 0.0:.2f}" for value in once) or "–")
        off = phonons.get("finite_displacement", {}).get("largest_difference_THz")
        lines.append("| " + " | ".join([*row, "–" if off is None else f"{off:.1g}"]) + " |")
    return "\n".join(lines) + "\n"


def scan_table() -> str:
    """How far bonds can be pressed, stretched and turned about, one row a model that was asked."""
    found = [(card, measured["scan"]) for card, measured in measured_by("scan")]
    if not found:
        return "*No card has been written to by `zoo lab scan NAME molecule.xyz --write` yet.*\n"
    kinds = sorted({kind for _, scan in found for kind in scan["bonds"]})
    lines = ["| model | " + " | ".join(kinds) + " | highest turn, eV | holes |",
             "|---|" + "---|" * len(kinds) + "---:|---|"]
    for card, scan in found:
        spans = ["{:g}–{:g}".format(*scan["bonds"][kind]["rises"]) if kind in scan["bonds"] else "–" for kind in kinds]
        turns = [turn["highest_eV"] for turn in scan["turns"]]
        row = [f"`{card.name}`", *spans, f"{max(turns):.2g}" if turns else "–", ", ".join(holes(scan)) or "none"]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def measured_by(*keys: str) -> list[tuple[Card, dict[str, Any]]]:
    """Cards that have some of these blocks under ``stability``, and what stands there."""
    return [(card, card.stability) for card in cards_by_system()
            if isinstance(card.stability, dict) and card.stability.keys() & {*keys}]


def cards_by_system() -> list[Card]:
    """Models of one molecule or crystal together, and in these the families by the geometry that they see."""
    def place(card: Card) -> tuple[str, int]:
        family, _, system = card.name.partition("-")
        return system, FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)

    return sorted((Card.load(path) for path in ROOT.glob("cards/*/card.yaml")), key=place)


def short(value: float | None) -> str:
    """Three digits, and thousands in full."""
    return "–" if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def error(card: Card, target: str, kind: str) -> tuple[float | None, str | None]:
    for metric in card.metrics:
        if (metric.split, metric.target, metric.metric) == ("test", target, kind):
            return metric.value, metric.unit
    return None, None


def leaderboard() -> str:
    """The boards of the bundled models: those of this tree's registry, whatever else is installed."""
    listed = read_registry(ROOT / "registry.yaml").models.values()
    cards = [(Card.load(path), "built-in") for path, _ in listed if path is not None and path.is_file()]
    return "\n" + "\n".join(markdown(board) for board in boards(cards)) + "\n"


TABLES = {"qm9": qm9_table, "force-fields": force_field_table, "stability": stability_table,
          "crystals": crystal_table, "scan": scan_table,
          "leaderboard": leaderboard}

if __name__ == "__main__":
    sys.exit(main())
