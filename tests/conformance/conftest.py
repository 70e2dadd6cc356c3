"""The broken backbones as a plugin."""

from __future__ import annotations

import inspect

import broken
import pytest

FAULTS = [name for name, cls in inspect.getmembers(broken, inspect.isclass)
          if issubclass(cls, broken.Sound) and cls is not broken.Sound]


@pytest.fixture
def zoo_of_faults(yard):
    """``sound`` and each fault in lower case as architectures of the package ``zoo-faults``."""
    claims = {"export": True, "smooth": 2}
    offers = ", ".join(f"Architecture(name={name.lower()!r}, factory='broken:{name}', signature={claims})"
                       for name in ["Sound", *FAULTS])
    yard.simple("zoo-faults", f"""
        @hookimpl
        def zoo_architectures():
            return [{offers}]
    """)
    return yard
