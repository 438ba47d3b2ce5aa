"""Every file of a vault is flipped at many places, cut, emptied and deleted, one damage at a time.

A check with data says so; points that do not need what is damaged recover; nothing but errors of ours comes up; and
after a rebuild the vault is as good as it can be.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from unittest.mock import patch

import pytest

from knowngood.core.log import NO_FRAME, LogRecord
from knowngood.core.model import Position
from knowngood.core.progress import Progress
from knowngood.testing.logs import TIMELINE, SmallLog, records
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault import collect as collect_module
from knowngood.vault.check import Checked
from knowngood.vault.layout import COMMITS, EPOCHS, INDEX, PACKS, PAGES, RESERVE, SEGMENTS, SESSIONS
from knowngood.vault.rebuild import rebuild_index
from knowngood.vault.record import PlainSegment, decode_commit
from knowngood.vault.reserve import set_reserve
from knowngood.vault.session import Session
from knowngood.vault.vault import open_vault
from tests.fault.reading import log_reads, recovers

pytestmark = pytest.mark.slow

Files = dict[bytes, bytes]
FLIPS = 15


@dataclass
class Original:
    """A vault with everything in it that a vault can have, and what its points hold."""

    small: SmallVault
    objects: dict[str, bytes]
    truth: dict[bytes, Files]
    alone: dict[str, set[bytes]]  # pack → the points that need it
    hidden: set[str]  # commits of points and segments that are hidden: those may go
    log: list[LogRecord]


def _files(some: random.Random, name: bytes, count: int) -> Files:
    return {b"%s/%d" % (name, at): some.randbytes(600) for at in range(count)}


def _second_copy(small: SmallVault, files: Files) -> bytes:
    """A point whose content another writer landed at the same time."""
    assert isinstance(small.store, MemoryStore)
    runs = {key: small.store.objects.pop(key) for key in list(small.store.objects) if key.startswith(INDEX)}
    with small.vault.session("at the same time") as session:
        small.store.objects.update(runs)
        return small.protect_in(session, files).id


@pytest.fixture(scope="module")
def original() -> Original:
    """Made once; each test damages copies."""
    some = random.Random(77)
    small = SmallVault(MemoryStore())
    truth: dict[bytes, Files] = {}

    def protect(files: Files) -> bytes:
        point = small.protect(files)
        truth[point.id] = files
        return point.id

    with small_packs(raw=3000, alone=500, group=500):
        shared = _files(some, b"shared", 4)
        protect(_files(some, b"one", 3) | shared)
        protect(_files(some, b"two", 3) | shared)
        gone = small.protect(_files(some, b"gone", 5) | shared)
        small.expire(gone)
        for at in range(4):
            protect({b"tiny": b"%d" % at})
        with patch.object(collect_module, "WORTH", -1.0):
            small.collect()  # rewritten packs of many keys; epochs; a merged run
        twice = _files(some, b"twice", 2)
        protect(twice)
        truth[_second_copy(small, twice)] = twice
        protect(_files(some, b"hidden", 2))
        small.expire(small.catalog.points()[0], undo_ns=10**18)
        log = SmallLog(small)
        log.write(*(records(some, 4 * at, 4, log.land([some.randbytes(600)])) for at in range(4)))
        log.thin(0, 4, undo_ns=10**18)
    with patch("knowngood.vault.reserve.PIECE", 512):
        set_reserve(small.store, 1024)
    Session(small.store, small.vault.id, small.vault.writer.public, "somebody at work")
    assert isinstance(small.store, MemoryStore)
    assert not small.check().findings
    hidden = {small.catalog.commit_of(point) for point in small.catalog.expired()}
    hidden |= {key for key, data in small.store.objects.items() if key.startswith(COMMITS) and _of_hidden_log(data)}
    return Original(small, dict(small.store.objects), truth, _needs(small, truth), hidden, log.truth[4:])


def _of_hidden_log(commit: bytes) -> bool:
    return any(isinstance(each, PlainSegment) and each.end <= 4 for each in decode_commit(commit).commit.records)


def _needs(small: SmallVault, truth: dict[bytes, Files]) -> dict[str, set[bytes]]:
    """Which points do without which pack, found out the hard way."""
    assert isinstance(small.store, MemoryStore)
    needs: dict[str, set[bytes]] = {}
    for key in [key for key in small.store.objects if key.startswith((PACKS, PAGES))]:
        data = small.store.objects.pop(key)
        needs[key] = {point for point in truth if not recovers(small, point, truth[point])}
        small.store.objects[key] = data
    return needs


def _log_reads(small: SmallVault, truth: list[LogRecord]) -> bool:
    """Whether the log that is not hidden can be read."""
    segments = small.catalog.log.within(TIMELINE, 4, 1 << 62)
    return log_reads(small, truth, Position(4, segments[0].previous if segments else NO_FRAME))


def damages(key: str, data: bytes, flips: int) -> Iterator[tuple[str, bytes | None]]:
    """What can happen to a file."""
    some = random.Random(key)
    for at in sorted({*some.sample(range(len(data)), min(flips, len(data))), *range(min(len(data), 3))}):
        bit = 1 << some.randrange(8)
        yield f"bit {bit} of byte {at} flipped", data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
    for length in {0, 1, len(data) // 2, max(0, len(data) - 2)}:
        yield f"cut to {length} bytes", data[:length]
    yield "grown", data + b"\0"
    yield "zeroed", bytes(len(data))
    yield "deleted", None


def _damaged(original: Original, key: str, data: bytes | None) -> SmallVault:
    store = MemoryStore()
    store.objects = {**original.objects}
    if data is None:
        del store.objects[key]
    else:
        store.objects[key] = data
    open_vault(store, original.small.vault.writer)
    small = original.small.beside(store)
    original.small.catalog._db.backup(small.catalog._db)  # its home was there before
    small.follow()
    return small


def _undetected_and_harmless(key: str, what: str, data: bytes, original: bytes) -> bool:
    """Damages that a check need not tell of."""
    if key.startswith(RESERVE):
        return True  # random bytes, without meaning
    if key.startswith((EPOCHS, SESSIONS)) and what == "deleted":
        return True  # the epoch before says less, and nothing wrong; a session without its card is fenced or fails
    if key.startswith(COMMITS) and what == "deleted":
        # It hid points or segments, and they show themselves again; or it was a fence.
        return not any(each in original for each in (b"checkpoint", b"segment"))
    if key.startswith(INDEX) and what == "deleted":
        return True  # it told of second copies only: were anything missing, its points would be told of
    return key.endswith(".json") and data.strip() == original.strip()


def _affected(done: Checked) -> set[bytes]:
    return {point for each in done.findings for point in each.points}


def _kinds(original: Original) -> dict[str, list[str]]:
    groups = (PACKS, PAGES, SEGMENTS, INDEX, COMMITS, EPOCHS, SESSIONS, RESERVE, "keys/", "vault")
    return {group: sorted(key for key in original.objects if key.startswith(group)) for group in groups}


@pytest.mark.parametrize(
    "group",
    [PACKS, PAGES, SEGMENTS, INDEX, COMMITS, EPOCHS, SESSIONS, RESERVE, "keys/", "vault"],
    ids=lambda each: each.strip("/"),
)
def test_any_damage(original: Original, group: str) -> None:
    tried = 0
    for key in _kinds(original)[group]:
        good = original.objects[key]
        for what, data in damages(key, good, FLIPS):
            if data == good:
                continue
            tried += 1
            _one(original, key, what, data)
    assert tried > 10


def _one(original: Original, key: str, what: str, data: bytes | None) -> None:
    place = f"{key}: {what}"
    small = _damaged(original, key, data)
    done = small.check()
    harmless = _undetected_and_harmless(key, what, data or b"", original.objects[key])
    harmless |= data is None and key in original.hidden
    assert done.findings or harmless, f"not detected: {place}"
    if key.startswith((PACKS, PAGES)):
        lost = {point for point in original.truth if not recovers(small, point, original.truth[point])}
        assert lost <= original.alone[key], f"lost more than what needs it: {place}"
        assert lost <= _affected(done), f"lost, and not told of: {place}"
        assert _affected(done) <= original.alone[key], f"told of too many: {place}"
    if not _log_reads(small, original.log):
        assert key.startswith((PACKS, SEGMENTS, COMMITS)), place
        assert {TIMELINE} in [set(each.timelines) for each in done.findings] or key.startswith(COMMITS), place
    if key.startswith((INDEX, EPOCHS)):
        rebuild_index(small.vault, Progress())
        done = small.check()
        assert not done.findings, place
    there = {each.id for hidden in (False, True) for each in small.catalog.points(expired=hidden)}
    survivors = {
        point: files for point, files in original.truth.items() if point not in _affected(done) and point in there
    }
    if not key.startswith((PACKS, PAGES, COMMITS)):
        assert survivors.keys() == original.truth.keys(), place
    elif key.startswith(COMMITS):
        assert len(survivors) >= len(original.truth) - 1, place
    for point, files in survivors.items():
        assert recovers(small, point, files), f"not damaged, and does not recover: {place}"


def test_a_rebuild_after_any_damage_to_a_pack_costs_nothing_more(original: Original) -> None:
    """What was readable with the old index is readable with the new one; and what was lost is stored again."""
    for key in _kinds(original)[PACKS] + _kinds(original)[PAGES]:
        for what, data in damages(key, original.objects[key], 12):
            small = _damaged(original, key, data)
            before = {point for point in original.truth if recovers(small, point, original.truth[point])}
            rebuild_index(small.vault, Progress())
            after = {point for point in original.truth if recovers(small, point, original.truth[point])}
            assert before <= after, f"{key}: {what}"
            if data is None:
                with small_packs(raw=3000, alone=500, group=500):
                    for files in original.truth.values():
                        small.protect(files)
                found = small.check().findings  # what only the log had is not at any source
                assert not [each for each in found if not each.timelines], f"{key}: {what}"
