"""EGNN as a plugin of its own package: hooks only, no torch."""

from __future__ import annotations

from pathlib import Path

from zoo.plugin import Architecture, hookimpl


@hookimpl
def zoo_architectures() -> list[Architecture]:
    return [
        Architecture(
            name="egnn",
            factory="zoo_egnn.model:EGNN",
            summary="E(n)-equivariant network whose coordinates move; scalars and vectors come out",
            format=2,
            upgrade="zoo_egnn.model:upgrade",
            presets={"small": {"cutoff": 5.0, "channels": 48, "num_layers": 3, "num_vectors": 8}},
            readout={"hidden": [32], "activation": "silu", "bias": True},
            depth="num_layers",
            signature={"body_order": None, "parity": "full", "lmax": 1},
            citation=("V. G. Satorras, E. Hoogeboom, M. Welling. E(n) equivariant graph neural networks. ICML 2021.",),
        )
    ]


@hookimpl
def zoo_registries() -> list[Path]:
    return [Path(__file__).parent / "registry.yaml"]
