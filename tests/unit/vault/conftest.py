"""A small vault in memory, and another one over a store that fails at will."""

from __future__ import annotations

import random

import pytest

from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault
from tests.leaks import nothing_left_behind  # noqa: F401 - applies to every test here


@pytest.fixture
def small() -> SmallVault:
    """A vault in memory."""
    return SmallVault(MemoryStore())


@pytest.fixture
def faulty() -> FaultyStore:
    """A store that fails at will, over one in memory."""
    return FaultyStore(MemoryStore())


@pytest.fixture
def shaky(faulty: FaultyStore) -> SmallVault:
    """A vault in `faulty`."""
    return SmallVault(faulty)


@pytest.fixture
def some() -> random.Random:
    """The same chance every time."""
    return random.Random(20261120)
