"""Implements a hook that nobody calls."""

from zoo.plugin import hookimpl


@hookimpl
def zoo_architecture():
    return []
