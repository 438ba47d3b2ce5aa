"""For `pytest -p tests.fault.mutants.plugin`: the mutant that KNOWNGOOD_MUTANT names lives while the tests run."""

from __future__ import annotations

import os

from tests.fault.mutants.mutants import BY_TESTS

_living = next(each for each in BY_TESTS if each.name == os.environ["KNOWNGOOD_MUTANT"]).applied()


def pytest_unconfigure() -> None:
    """It ends with the run."""
    _living.close()
