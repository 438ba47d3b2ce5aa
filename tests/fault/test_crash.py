"""The power goes after every operation of runs of the vault's verbs: every acknowledged point is there, whole.

A fixed sample; `make proof` takes a hundred thousand states (docs/proof.md).
"""

from __future__ import annotations

import pytest

from tests.fault.crash.machine import PLAYS, Machine


@pytest.mark.parametrize("play", sorted(PLAYS))
@pytest.mark.parametrize("seed", [1, 2])
def test_every_state_that_a_power_cut_may_leave(play: str, seed: int) -> None:
    tally = Machine(play, seed, most=60).run()
    assert tally.states > 10
    assert tally.operations > 20
