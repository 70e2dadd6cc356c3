"""SchNet as a plugin."""

from __future__ import annotations

from zoo.plugin import Architecture, hookimpl


@hookimpl
def zoo_architectures() -> list[Architecture]:
    return [
        Architecture(
            name="schnet",
            factory="zoo_plugins.schnet.model:SchNet",
            summary="invariant, continuous-filter convolutions of distances",
            presets={
                "paper": {"cutoff": 10.0, "channels": 128, "num_filters": 128, "num_layers": 6, "num_radial": 50},
                "small": {"cutoff": 5.0, "channels": 128, "num_filters": 128, "num_layers": 4, "num_radial": 32},
            },
            readout={"hidden": [64], "activation": "ssp", "bias": True},
            depth="num_layers",
            signature={"body_order": 2, "parity": "even", "lmax": 0, "export": True},
            citation=(
                "K. T. Schütt, P.-J. Kindermans, H. E. Sauceda, S. Chmiela, A. Tkatchenko, K.-R. Müller. SchNet: a "
                "continuous-filter convolutional neural network for modeling quantum interactions. NeurIPS 2017.",
                "K. T. Schütt, H. E. Sauceda, P.-J. Kindermans, A. Tkatchenko, K.-R. Müller. SchNet – a deep learning "
                "architecture for molecules and materials. J. Chem. Phys. 148, 241722 (2018).",
            ),
        )
    ]
