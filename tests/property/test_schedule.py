"""Whatever clocks, failures and people do: points go on, and never come in a burst."""

from __future__ import annotations

import itertools
from collections import defaultdict

from hypothesis import given, strategies as st

from knowngood.control.schedule import DAY, Schedule, Verb
from knowngood.core.instants import SECOND
from knowngood.core.model import ComponentSpec, Policy, ServiceSpec
from knowngood.testing.clock import TwoClocks

RPO = {"a": 10.0, "b": 300.0, "c": 86400.0}
SERVICES = [
    ServiceSpec(name=name, components=(ComponentSpec(name="d", kind="files", path="/d"),), policy=Policy(rpo=rpo))
    for name, rpo in RPO.items()
]

_spans = st.one_of(st.floats(0, 10), st.floats(0, 1000), st.just(7 * DAY))
_jumps = st.sampled_from([0.0, 0.0, 0.0, DAY, -DAY, 3600.0, -3600.0, 20 * 365 * DAY])
_steps = st.lists(st.tuples(_spans, _jumps, st.sampled_from(["ok", "ok", "ok", "fails", "busy"])), max_size=60)


@given(_steps, st.dictionaries(st.sampled_from(list(RPO)), st.integers(-2 * 10**5, 2 * 10**5)))
def test_neither_bursts_nor_silence(steps: list[tuple[float, float, str]], ages: dict[str, int]) -> None:
    """Between two trials of a service lies at least a short while; after each round nothing is due; and no service is
    left for longer than its rpo."""
    clocks = TwoClocks()
    schedule = Schedule(clocks())
    schedule.keep_to(SERVICES, clocks())
    for name, age in ages.items():
        schedule.heard(name, clocks.wall_ns - age * SECOND, clocks())
    trials: dict[str, list[float]] = defaultdict(list)
    for seconds, jump, outcome in steps:
        clocks.move(seconds)
        clocks.jump(jump)
        rounds = 0
        while what := schedule.due(clocks()):
            rounds += 1
            assert rounds <= len(SERVICES) + 1, "a burst"
            if what.verb == Verb.PROTECT:
                trials[what.service].append(clocks.steady)
            {"ok": schedule.done, "fails": schedule.failed, "busy": schedule.postponed}[outcome](what, clocks())
        assert schedule.next_due() > clocks.steady
        for row in schedule.rows():
            if row.verb == Verb.PROTECT:
                assert row.due <= clocks.steady + RPO[row.service], "left alone for longer than was promised"
    for name, moments in trials.items():
        gaps = [after - before for before, after in itertools.pairwise(moments)]
        assert all(gap >= min(1.0, RPO[name] / 2) * 0.75 for gap in gaps)
