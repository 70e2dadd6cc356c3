"""Models small enough to be made for every test: a card, weights that fit it byte by byte, and a repository of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from zoo.cards.card import Card
from zoo.hub.repository import render_config, render_readme

PARAMETERS = 40_000


def weights(seed: int = 0) -> bytes:
    values = np.random.default_rng(seed).standard_normal(PARAMETERS).astype(np.float32)
    return save({"weight": values}, metadata={"zoo": "{}"})


def card(data: bytes, name: str = "tiny-qm9", **changes: object) -> Card:
    described = {
        "schema": 1,
        "name": name,
        "summary": "A model for tests.",
        "architecture": "schnet",
        "config": {"cutoff": 5.0},
        "targets": {"U0": {"readout": "energy", "unit": "eV"}},
        "domain": {"elements": ["H", "C", "N", "O", "F"]},
        "data": {"dataset": "qm9", "theory": "B3LYP/6-31G(2df,p)"},
        "weights": {
            "file": "model.safetensors",
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "parameters": PARAMETERS,
        },
        "metrics": [
            {"split": "test", "target": "U0", "metric": "mae", "value": 0.021, "unit": "eV", "n": 10831,
             "by": "zoo evaluate", "date": "2026-01-01"}
        ],
        "license": "MIT",
        "citation": ["A. Author, A paper, J. Tests 1, 1 (2026)"],
    }  # fmt: skip
    return Card.from_dict({**described, **changes})


def files(data: bytes | None = None, **changes: object) -> dict[str, bytes]:
    """What a repository of the zoo holds; `changes` are keys of the card."""
    data = weights() if data is None else data
    made = card(data, **changes)
    return {
        "README.md": render_readme(made, [], f"zoo-org/{made.name}").encode(),
        "config.json": render_config(made).encode(),
        "card.yaml": made.dump().encode(),
        "model.safetensors": data,
    }


def write_folder(folder: Path, data: bytes | None = None, **changes: object) -> Path:
    """A card folder, as `zoo.save` leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files(data, **changes).items():
        if name in ("card.yaml", "model.safetensors"):
            (folder / name).write_bytes(content)
    return folder
