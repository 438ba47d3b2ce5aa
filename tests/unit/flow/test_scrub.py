"""Scrubbing: everything is read within a month, a turn at a time, and what is damaged comes back."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

import pytest

from knowngood.core.errors import Busy
from knowngood.core.instants import SECOND
from knowngood.core.progress import Progress
from knowngood.flow import scrub as scrub_module
from knowngood.flow.parts import Parts
from knowngood.flow.scrub import Pacer, Scrubbed, scrub
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault.check import readable
from knowngood.vault.layout import PACKS, PARITY_PACKS
from knowngood.vault.parity.keep import keep_parity

DAY = 86400 * SECOND


@pytest.fixture
def small() -> Iterator[SmallVault]:
    """A vault of a few dozen packs with parity."""
    some = random.Random(8)
    with small_packs(raw=3000, alone=500, group=500):
        small = SmallVault(MemoryStore())
        small.protect({b"%d" % at: some.randbytes(600) for at in range(80)})
        keep_parity(small.vault, Progress())
        yield small


def _parts(small: SmallVault) -> Parts:
    return Parts(
        vault=small.vault,
        catalog=small.catalog,
        kinds=dict,
        state_dir=lambda _: "",
        private=lambda: small.private,
        host="host",
    )


def _turn(small: SmallVault, now: int) -> Scrubbed:
    return scrub(_parts(small), lambda _: None, now=now)


def _objects(small: SmallVault) -> dict[str, bytes]:
    assert isinstance(small.store, MemoryStore)
    return small.store.objects


def test_all_is_read_within_a_month(small: SmallVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the first turns come at once: what is read again is what was read longest ago."""
    monkeypatch.setattr(scrub_module, "LEAST", 1)
    clock, noted = [10**18], list[tuple[bytes, int]]()
    original = small.catalog.note_checked

    def note(rows: Iterable[tuple[bytes, int, str]]) -> None:
        mine = [(name, clock[0], verdict) for name, _, verdict in rows]
        noted.extend((name, at) for name, at, _ in mine)
        original(mine)

    monkeypatch.setattr(small.catalog, "note_checked", note)
    there = dict(readable(small.store))
    last = dict.fromkeys(there, clock[0])
    for _ in range(24 * 65):
        clock[0] += 3600 * SECOND
        noted.clear()
        done = _turn(small, clock[0])
        assert done.checked.read_bytes <= sum(there.values()) // 240 + max(there.values())
        for name, at in noted:
            assert at - last[name] <= 31 * DAY
            last[name] = at
    assert all(clock[0] - at <= 31 * DAY for at in last.values())


def test_what_was_read_is_left_alone(small: SmallVault) -> None:
    assert _turn(small, 10**18).checked.read_packs == len(dict(readable(small.store)))
    small.catalog.note_checked([(name, 10**18, "good") for name, _ in readable(small.store)])
    assert _turn(small, 10**18 + 19 * DAY).checked.read_packs == 0
    assert _turn(small, 10**18 + 21 * DAY).checked.read_packs > 0


def test_what_is_damaged_or_missing_comes_back(small: SmallVault) -> None:
    before = {key: data for key, data in _objects(small).items() if key.startswith((PACKS, PARITY_PACKS))}
    one, other = sorted(key for key in before if key.startswith(PACKS))[:2]
    shard = next(key for key in before if key.startswith(PARITY_PACKS))
    _objects(small)[one] = before[one][:50] + bytes(200) + before[one][250:]
    del _objects(small)[other]
    done = _turn(small, 10**18)
    assert sorted(each.key for each in done.healed.objects) == sorted([one, other])
    assert not done.checked.findings
    _objects(small)[shard] = before[shard][:-1] + b"?"
    assert not _turn(small, 10**18 + 30 * DAY).checked.findings
    assert {key: _objects(small).get(key) for key in before if key.startswith(PACKS)} == {
        key: data for key, data in before.items() if key.startswith(PACKS)
    }
    assert not small.check().findings


def test_what_cannot_be_healed_now_is_healed_the_next_time(small: SmallVault) -> None:
    one = next(key for key in _objects(small) if key.startswith(PACKS))
    good = _objects(small)[one]
    _objects(small)[one] = good[:-9] + bytes(9)

    def busy() -> AbstractContextManager[None]:
        raise Busy("somebody is at work")

    done = scrub(_parts(small), lambda _: None, alone=busy, now=10**18)
    assert done.checked.findings
    assert not done.healed.objects
    assert _turn(small, 10**18).healed.objects
    assert _objects(small)[one] == good


def test_a_rate_is_kept_by_waiting() -> None:
    clock, waited = [0.0], list[float]()

    def wait(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds

    pace = Pacer(100.0, lambda: clock[0], wait)
    for _ in range(50):
        pace(10)
    assert 4.0 <= clock[0] <= 5.0
    clock[0] += 1000  # a machine that slept owes nothing, and may not catch up
    before = clock[0]
    for _ in range(50):
        pace(10)
    assert clock[0] - before >= 4.0
