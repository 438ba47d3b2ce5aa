"""The proof is proven: an invariant is broken on purpose, and the crash machine or an existing suite notices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from knowngood.testing.killer import ChildFailed
from tests.fault.crash.machine import Machine, Violation
from tests.fault.mutants.mutants import BY_MACHINE, BY_TESTS, Mutant

pytestmark = pytest.mark.slow

_SEEDS = 8  # at most: ids are random, and so is their order; nearly all are noticed by the first
_ROOT = Path(__file__).parents[3]


def _name(mutant: Mutant) -> str:
    return mutant.name


@pytest.mark.parametrize("mutant", BY_MACHINE, ids=_name)
def test_the_crash_machine_notices(mutant: Mutant) -> None:
    with mutant.applied():
        for seed in range(mutant.seed, mutant.seed + _SEEDS):
            try:
                Machine(mutant.noticed_by, seed, most=mutant.most).run()
            except (Violation, ChildFailed):
                return
    pytest.fail(f"nobody noticed: {mutant.breaks}")


@pytest.mark.parametrize("mutant", BY_TESTS, ids=_name)
def test_the_tests_notice(mutant: Mutant) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "tests.fault.mutants.plugin"]
    done = subprocess.run(
        [*command, str(_ROOT / "tests" / mutant.noticed_by)],
        cwd=_ROOT,
        env=os.environ | {"KNOWNGOOD_MUTANT": mutant.name, "PYTHONPATH": str(_ROOT)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, f"nobody noticed: {mutant.breaks}\n{done.stdout}"
