"""GemNet: two-hop directional message passing with distances, angles and torsions. Hook module; see ``model``."""

from __future__ import annotations

from zoo.plugin import Architecture, hookimpl

PAPER = {
    "num_spherical": 7,
    "num_radial": 6,
    "blocks": 4,
    "emb_atom": 128,
    "emb_edge": 128,
    "emb_trip": 64,
    "emb_quad": 32,
    "emb_rbf": 16,
    "emb_cbf": 16,
    "emb_sbf": 32,
    "bil_trip": 64,
    "bil_quad": 32,
    "before_skip": 1,
    "after_skip": 1,
    "concat": 1,
    "atom": 2,
    "cutoff": 5.0,
    "cutoff_interaction": 10.0,
    "envelope_exponent": 5,
    "quadruplets": True,
    "num_elements": 93,
}

SMALL = PAPER | {
    "num_spherical": 4,
    "blocks": 2,
    "emb_atom": 64,
    "emb_edge": 64,
    "emb_trip": 32,
    "emb_quad": 16,
    "emb_rbf": 16,
    "emb_cbf": 8,
    "emb_sbf": 8,
    "bil_trip": 32,
    "bil_quad": 16,
    "atom": 1,
    "cutoff": 5.0,
    "cutoff_triplets": 4.0,
    "cutoff_quadruplets": 3.0,
    "cutoff_interaction": 3.0,
}


@hookimpl
def zoo_architectures() -> list[Architecture]:
    return [
        Architecture(
            name="gemnet",
            factory="zoo_plugins.gemnet.model:GemNet",
            summary="invariant messages with distances, angles and torsions (GemNet-Q, GemNet-T)",
            presets={"paper": PAPER, "paper-t": PAPER | {"quadruplets": False}, "small": SMALL},
            readout={"hidden": [], "bias": False},
            depth="blocks",
            cutoffs=("cutoff", "cutoff_triplets", "cutoff_quadruplets", "cutoff_interaction"),
            signature={"body_order": 4, "parity": "even", "lmax": 0, "export": True},
            citation=(
                "J. Gasteiger, F. Becker, S. Günnemann, GemNet: Universal Directional Graph Neural Networks for "
                "Molecules, NeurIPS 2021, arXiv:2106.08903",
            ),
        )
    ]
