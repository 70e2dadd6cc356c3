"""Fixtures of the training tests."""

from __future__ import annotations

import pytest
from tiny import make_store

from zoo.data import Store


@pytest.fixture(scope="session")
def store() -> Store:
    return make_store()
