"""Write the tables that stand between markers in the documentation, from the cards; `--check` only compares.

    python docs/make_tables.py [--check]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from zoo.card import Card

ROOT = Path(__file__).resolve().parents[1]
FILES = ("README.md",)
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
        found = [mae(card, target) for card in cards]
        unit = next((u for _, u in found if u), cards[0].targets[target].unit)
        values = " | ".join(f"{v:.4g}" if v is not None else "–" for v, _ in found)
        lines.append(f"| {target} | {unit} | {values} |")
    sizes = " | ".join(f"{c.weights.parameters:,}" if c.weights else "–" for c in cards)
    lines.append(f"| parameters | | {sizes} |")
    lines.append("| hours on one shared CPU core | | " + " | ".join(
        f"{c.training.hours:.2g}" if c.training.hours is not None else "–" for c in cards) + " |")
    return "\n".join(lines) + "\n"


def mae(card: Card, target: str) -> tuple[float | None, str | None]:
    for metric in card.metrics:
        if (metric.split, metric.target, metric.metric) == ("test", target, "mae"):
            return metric.value, metric.unit
    return None, None


TABLES = {"qm9": qm9_table}

if __name__ == "__main__":
    sys.exit(main())
