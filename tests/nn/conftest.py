from __future__ import annotations

import sys

import pytest

import zoo.nn  # noqa: F401


@pytest.fixture(autouse=True)
def fast_forms(monkeypatch):
    """The inputs here are small, and small inputs take the plain operations: these tests are about the other ones."""
    # By the names of the modules, since zoo.nn.activation is also a function.
    for name, limit in (("fused.multilinear", "_FEW"), ("activation", "_FEW"), ("activation", "_FEW_SSP")):
        monkeypatch.setattr(sys.modules[f"zoo.nn.{name}"], limit, 0)
