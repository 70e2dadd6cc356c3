"""Offers a name that its twin offers too."""

from zoo.plugin import Architecture, hookimpl


@hookimpl
def zoo_architectures():
    return [Architecture(name="twin", factory="zoo_broken.twin:Twin")]
