"""Keep a small model of every family in the format that its state dict has now; what is kept already stays as it is.

    python tests/formats/make.py
"""

from __future__ import annotations

from pathlib import Path

import torch

from zoo.lab.probes import probe
from zoo.loading.models import save
from zoo.registry import host
from zoo.registry.families import FAMILIES

HERE = Path(__file__).parent


def main() -> None:
    for family in FAMILIES:
        number = host.architecture(family).format
        folder = HERE / f"{family}-{number}"
        if folder.exists():
            continue
        model = probe(family, cutoff=4.0).model(layers=2, dtype="float32")
        for readout in model.readouts.values():
            count = len(readout.constants.coefficients)
            readout.set_constants(coefficients=-torch.arange(1, count + 1).double(), scale=0.37)
        save(model, folder, name=f"{family}-format-{number}", summary="Random weights.", metrics=[])
        print(folder)


if __name__ == "__main__":
    main()
