"""DimeNet++: directional message passing with distances and angles. Hook module; the network is in ``model``."""

from __future__ import annotations

from zoo.plugin import Architecture, hookimpl

PAPER = {
    "hidden": 128,
    "blocks": 4,
    "int_emb": 64,
    "basis_emb": 8,
    "out_emb": 256,
    "num_spherical": 7,
    "num_radial": 6,
    "cutoff": 5.0,
    "envelope_exponent": 5,
    "before_skip": 1,
    "after_skip": 2,
    "output_layers": 3,
    "num_elements": 95,
}

SMALL = PAPER | {
    "hidden": 64,
    "blocks": 3,
    "int_emb": 32,
    "out_emb": 64,
    "num_spherical": 5,
    "cutoff_triplets": 4.0,
    "after_skip": 1,
    "output_layers": 2,
    "num_elements": 100,
}


@hookimpl
def zoo_architectures() -> list[Architecture]:
    return [
        Architecture(
            name="dimenet",
            factory="zoo_plugins.dimenet.model:DimeNetPlusPlus",
            summary="invariant messages with distances and angles (DimeNet++)",
            presets={"paper": PAPER, "small": SMALL},
            readout={"hidden": [], "bias": False},
            depth="blocks",
            cutoffs=("cutoff", "cutoff_triplets"),
            signature={"body_order": 3, "parity": "even", "lmax": 0, "export": True},
            citation=(
                "J. Gasteiger, S. Giri, J. T. Margraf, S. Günnemann, Fast and Uncertainty-Aware Directional Message "
                "Passing for Non-Equilibrium Molecules, arXiv:2011.14115 (2020)",
                "J. Gasteiger, J. Groß, S. Günnemann, Directional Message Passing for Molecular Graphs, ICLR 2020, "
                "arXiv:2003.03123",
            ),
        )
    ]
