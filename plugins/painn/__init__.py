"""PaiNN as a plugin."""

from __future__ import annotations

from zoo.plugin import Architecture, hookimpl


@hookimpl
def zoo_architectures() -> list[Architecture]:
    return [
        Architecture(
            name="painn",
            factory="zoo_plugins.painn.model:PaiNN",
            summary="equivariant, scalar and vector features",
            presets={
                "paper": {"cutoff": 5.0, "channels": 128, "num_layers": 3, "num_radial": 20},
                "small": {"cutoff": 5.0, "channels": 64, "num_layers": 3, "num_radial": 20},
            },
            readout={"hidden": [64], "activation": "silu", "bias": True},
            depth="num_layers",
            signature={"body_order": None, "parity": "full", "lmax": 1, "export": True},
            citation=(
                "K. T. Schütt, O. T. Unke, M. Gastegger. Equivariant message passing for the prediction of tensorial "
                "properties and molecular spectra. ICML 2021, PMLR 139, 9377.",
            ),
        )
    ]
