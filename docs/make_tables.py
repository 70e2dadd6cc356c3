"""Write the tables that stand between markers in the documentation, from the cards; `--check` only compares.

    python docs/make_tables.py [--check]
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

from zoo.cards.card import Card
from zoo.evaluation.leaderboard import boards
from zoo.evaluation.leaderboard_tables import markdown
from zoo.files.markdown import markdown_table
from zoo.properties.card_results import holes
from zoo.registry.families import FAMILIES, model_order
from zoo.registry.registry_file import read_registry

ROOT = Path(__file__).resolve().parents[1]
FILES = ("README.md", "docs/models.md", "docs/experiments/force-fields.md", "docs/experiments/leaderboard.md")


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
    rows = []
    for target in cards[0].targets:
        found = [error(card, target, "mae") for card in cards]
        unit = next((u for _, u in found if u), cards[0].targets[target].unit)
        rows.append([target, unit, *(f"{v:.4g}" if v is not None else "–" for v, _ in found)])
    rows.append(["parameters", "", *(f"{c.weights.parameters:,}" if c.weights else "–" for c in cards)])
    rows.append(["hours of training", "", *(f"{c.training.all_hours:.2g}" if c.training.hours is not None else "–"
                                            for c in cards)])
    return markdown_table(["test MAE", "unit", *(f"`{card.name}`" for card in cards)], rows, "llr") + "\n"


def which_table() -> str:
    """What a reader has, the model for it, and what was measured of that model."""
    cards = {card.name: card for card in cards_by_system()}
    delta = cards["nequix-oam-1"].stability
    assert isinstance(delta, dict)
    kinds = next(part for part in cards["painn-qm9-anygeo"].breakdown if part.by == "kind")
    u0 = dict(zip(kinds.groups, kinds.mae["U0"]))
    trained = [f"{family}-qm9" for family in FAMILIES]
    best = min(trained, key=lambda name: error(cards[name], "U0", "mae")[0] or math.inf)
    rows = [
        ["a crystal of any of 89 elements", "`universal`",
         f"mean Δ {delta['delta']['delta_meV_per_atom']:g} meV/atom to all-electron PBE"],
        ["a SMILES, or a molecule from any method (H, C, N, O, F)", "`painn-qm9-anygeo`, the default",
         f"U0 MAE {u0['smiles']:.0f} meV from SMILES, {u0['mmff']:.0f} from MMFF94, {u0['b3lyp']:.0f} from B3LYP"],
        ["a molecule at its B3LYP minimum, as in QM9", f"`{best}`",
         f"U0 MAE {error(cards[best], 'U0', 'mae')[0]:.3g} meV"],
    ]
    systems = {"acac": "acetylacetone", "ethanol": "ethanol", "3bpa": "3-(benzyloxy)pyridin-2-amine",
               "si": "silicon, solid or liquid"}
    for system, words in systems.items():
        known = [name for name in cards if name.endswith(f"-{system}")]
        first = min(known, key=lambda name: error(cards[name], "forces", "rmse")[0] or math.inf)
        rows.append([f"dynamics of {words}", f"`{first}`",
                     f"forces RMSE {short(error(cards[first], 'forces', 'rmse')[0])} meV/Å"])
    rows += [["frames of a system of your own", "[`zoo train`](docs/guides/training.md)", "its card says so"],
             ["frames close to what a model knows", "[`zoo finetune`](docs/guides/fine-tune.md)", "its card says so"]]
    return markdown_table(["you have", "take", "measured"], rows, "lll") + "\n"


def force_field_table() -> str:
    """Test errors of the bundled force fields, one row a model."""
    header = ["model", "energy, meV", "meV/atom", "forces, meV/Å", "stress, meV/Å³", "trained on", "parameters",
              "hours"]
    rows = []
    for card in cards_by_system():
        if not card.derivatives or card.weights is None:
            continue
        energy = next(iter(card.targets))
        wanted = ((energy, "rmse"), (energy, "rmse_per_atom"), ("forces", "rmse"), ("stress", "rmse"))
        rows.append([f"`{card.name}`", *(short(error(card, *pair)[0]) for pair in wanted), str(card.data.split.train),
                     f"{card.weights.parameters:,}", f"{card.training.all_hours:.2g}"])
    return markdown_table(header, rows, "lr") + "\n"


def stability_table() -> str:
    """Stability of the bundled force fields in dynamics, one row for each model that was measured."""
    header = ["model", "energy drift, meV/atom in 10 ps", "largest deviation", "keep their bonds at 300 K", "at 600 K"]
    rows = []
    for card, measured in measured_by("nve", "nvt"):
        nve, nvt = measured.get("nve", {}), measured.get("nvt", {}).get("at", {})
        runs = [f"{r['survived']} of {r['of']}" if (r := nvt.get(t)) else "–" for t in ("300 K", "600 K")]
        energies = [f"{nve[key]:.2g}" if key in nve else "–" for key in
                    ("drift_meV_per_atom", "largest_deviation_meV_per_atom")]
        rows.append([f"`{card.name}`", *energies, *runs])
    return markdown_table(header, rows, "lr") + "\n"


def crystal_table() -> str:
    """Crystal properties of the bundled force fields, one row for each model that was measured."""
    points = ("Γ", "X", "L")
    header = ["model", "crystal", "lattice constant, Å", "bulk modulus, GPa", *points, "off by finite displacement"]
    rows = []
    for card, measured in measured_by("equation_of_state", "phonons"):
        eos, phonons = measured.get("equation_of_state", {}), measured.get("phonons", {})
        row = [f"`{card.name}`", eos.get("structure") or phonons["structure"],
               f"{eos['lattice_A'][0]:.3f}" if eos else "–", f"{eos['bulk_modulus_GPa']:g}" if eos else "–"]
        for point in points:
            found = phonons.get("points", {}).get(point, {}).get("THz", [])
            # Frequencies that are equal by symmetry are shown once; adding 0.0 removes the sign of a rounded zero.
            once = [value for value, before in zip(found, [None, *found]) if before is None or value - before > 0.005]
            row.append(" · ".join(f"{round(value, 2) + 0.0:.2f}" for value in once) or "–")
        off = phonons.get("finite_displacement", {}).get("largest_difference_THz")
        rows.append([*row, "–" if off is None else f"{off:.1g}"])
    return markdown_table(header, rows, "llrr" + "l" * len(points) + "r") + "\n"


def scan_table() -> str:
    """Energy scans along bond stretches and rotations, one row for each model that was measured."""
    found = [(card, measured["scan"]) for card, measured in measured_by("scan")]
    if not found:
        return "*No card has been written to by `zoo lab scan NAME molecule.xyz --write` yet.*\n"
    kinds = sorted({kind for _, scan in found for kind in scan["bonds"]})
    rows = []
    for card, scan in found:
        spans = ["{:g}–{:g}".format(*scan["bonds"][kind]["rises"]) if kind in scan["bonds"] else "–" for kind in kinds]
        turns = [turn["highest_eV"] for turn in scan["turns"]]
        rows.append([f"`{card.name}`", *spans, f"{max(turns):.2g}" if turns else "–", ", ".join(holes(scan)) or "none"])
    header = ["model", *kinds, "highest turn, eV", "holes"]
    return markdown_table(header, rows, "ll" + "l" * (len(kinds) - 1) + "rl") + "\n"


def measured_by(*keys: str) -> list[tuple[Card, dict[str, Any]]]:
    """Cards that have some of these blocks under ``stability``, and what stands there."""
    return [(card, card.stability) for card in cards_by_system()
            if isinstance(card.stability, dict) and card.stability.keys() & {*keys}]


def cards_by_system() -> list[Card]:
    """All cards; models of one molecule or crystal are next to each other."""
    return sorted((Card.load(path) for path in ROOT.glob("cards/*/card.yaml")), key=lambda card: model_order(card.name))


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


TABLES = {"which": which_table, "qm9": qm9_table, "force-fields": force_field_table, "stability": stability_table,
          "crystals": crystal_table, "scan": scan_table,
          "leaderboard": leaderboard}

if __name__ == "__main__":
    sys.exit(main())
