"""NequIP: E(3)-equivariant messages between steerable features (Batzner et al. 2022). Hooks only, no torch."""

from __future__ import annotations

from zoo.plugin import Architecture, hookimpl

_QM9 = [1, 6, 7, 8, 9]


@hookimpl
def zoo_architectures() -> list[Architecture]:
    return [
        Architecture(
            name="nequip",
            factory="zoo_plugins.nequip.model:NequIP",
            summary="steerable features of any degree and both parities, Clebsch-Gordan tensor-product messages",
            presets={
                "paper": {
                    "cutoff": 4.0,
                    "elements": _QM9,
                    "num_layers": 5,
                    "lmax": 3,
                    "parity": True,
                    "num_features": 64,
                    "num_bessel": 8,
                    "trainable_bessel": True,
                    "envelope_exponent": 6,
                    "radial_depth": 2,
                    "radial_width": 64,
                },
                "small": {
                    "cutoff": 5.0,
                    "elements": _QM9,
                    "num_layers": 3,
                    "lmax": 2,
                    "parity": False,
                    "num_features": [64, 32, 16],
                    "radial_depth": 1,
                    "radial_width": 64,
                    "radial_gain": 6.0,
                    "output_lmax": 1,
                },
            },
            readout={"hidden": [], "bias": False},
            depth="num_layers",
            elements="elements",
            signature={"body_order": None, "parity": "full", "lmax": None, "smooth": 2, "export": True},
            citation=(
                "S. Batzner, A. Musaelian, L. Sun, M. Geiger, J. P. Mailoa, M. Kornbluth, N. Molinari, T. E. Smidt, "
                "B. Kozinsky, E(3)-equivariant graph neural networks for data-efficient and accurate interatomic "
                "potentials, Nat. Commun. 13, 2453 (2022)",
            ),
        )
    ]
