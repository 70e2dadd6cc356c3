"""Registers a card with a misspelt key."""

from pathlib import Path

from zoo.plugin import hookimpl


@hookimpl
def zoo_registries():
    return [Path(__file__).parent / "registry.yaml"]
