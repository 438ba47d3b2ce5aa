"""A vault with parity is damaged at random, in one to four places at once: flipped, cut, zeroed, deleted, swapped.

Every damage is detected and named: the object, and the points and logs that it costs. Everything undamaged recovers.
Healing brings back, byte for byte, what parity covers, and says what it cannot. `make proof-damage` tries thousands.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from knowngood.core.log import LogRecord
from knowngood.core.progress import Progress
from knowngood.testing.logs import TIMELINE, SmallLog, records
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault.check import Checked
from knowngood.vault.layout import COMMITS, PACKS, PAGES, PARITY_LOGS, PARITY_PACKS, SEGMENTS
from knowngood.vault.parity.heal import heal, plan_healing
from knowngood.vault.parity.keep import keep_parity
from knowngood.vault.parity.sets import list_sets
from knowngood.vault.record import PlainPoint, PlainSegment, decode_commit
from tests.fault.reading import log_reads, recovers

TRIALS = int(os.environ.get("KNOWNGOOD_DAMAGES", "100"))
SEED = int(os.environ.get("KNOWNGOOD_DAMAGE_SEED", "0"))
pytestmark = pytest.mark.slow
GROUPS = (PACKS, PAGES, SEGMENTS, COMMITS, PARITY_PACKS, PARITY_LOGS)
Files = dict[bytes, bytes]


@dataclass
class Whole:
    """A vault as it was made, and what it holds."""

    small: SmallVault
    objects: dict[str, bytes]
    truth: dict[bytes, Files]
    log: list[LogRecord]
    sets: dict[str, bytes] = field(default_factory=dict)  # object → its parity set
    shards: dict[bytes, int] = field(default_factory=dict)  # parity set → how many objects of it may be lost


def _files(some: random.Random, name: bytes, count: int) -> Files:
    return {b"%s/%d" % (name, at): some.randbytes(some.choice([40, 600, 2500])) for at in range(count)}


@pytest.fixture(scope="module")
def whole() -> Whole:
    """Services, content that points share, a log that refers to chunks, hidden points; and parity over all."""
    some = random.Random(20261127)
    small = SmallVault(MemoryStore())
    truth: dict[bytes, Files] = {}
    with small_packs(raw=4000, alone=500, group=900):
        shared = _files(some, b"shared", 6)
        for at in range(9):
            files = _files(some, b"own-%d" % at, 5) | (shared if at % 2 else {})
            truth[small.protect(files, service=f"service-{at % 3}").id] = files
        log = SmallLog(small)
        log.write(*(records(some, 4 * at, 4, log.land([some.randbytes(700)])) for at in range(12)))
        keep_parity(small.vault, Progress())
        hidden = small.protect(_files(some, b"hidden", 3))
        small.expire(hidden, undo_ns=10**18)
        keep_parity(small.vault, Progress())
    assert not small.check().findings
    made = Whole(small, _objects(small).copy(), truth, log.truth)
    for parity in list_sets(small.store)[0]:
        made.shards[parity.id] = parity.table.shards
        for key in (*parity.keys, *(member.key for member in parity.table.members)):
            made.sets[key] = parity.id
    assert all(key in made.sets for key in made.objects if key.startswith(GROUPS))
    return made


def _objects(small: SmallVault) -> dict[str, bytes]:
    assert isinstance(small.store, MemoryStore)
    return small.store.objects


def _again(whole: Whole, objects: Mapping[str, bytes]) -> SmallVault:
    """The same vault with other objects, seen from a home that was there before."""
    store = MemoryStore()
    store.objects = dict(objects)
    small = whole.small.beside(store)
    whole.small.catalog._db.backup(small.catalog._db)
    small.follow()
    return small


def _damage(some: random.Random, objects: dict[str, bytes], keys: list[str]) -> str:
    """Do something to one object, or to two of a kind; returns what."""
    if not keys:
        return "nothing is left"
    key = some.choice(keys)
    data = bytearray(objects[key])
    at = some.randrange(len(data))
    match some.choice(["flip", "cut", "zero", "delete", "swap", "grow", "sectors"]):
        case "flip":
            data[at] ^= 1 << some.randrange(8)
            what = f"bit of byte {at} of {key} flipped"
        case "cut":
            del data[at:]
            what = f"{key} cut to {at} bytes"
        case "zero":
            end = at + some.randrange(1, 2000)
            data[at:end] = bytes(len(data[at:end]))
            what = f"{key} zeroed from {at} to {end}"
        case "grow":
            data += some.randbytes(some.randrange(1, 600))
            what = f"{key} grown"
        case "sectors":
            for start in range(0, len(data), 512):
                if some.random() < 0.2:
                    data[start : start + 512] = some.randbytes(len(data[start : start + 512]))
            what = f"sectors of {key} overwritten"
        case "swap":
            other = some.choice([each for each in keys if each.split("/")[0] == key.split("/")[0]])
            objects[key], objects[other] = objects[other], objects[key]
            return f"{key} and {other} swapped"
        case _:
            del objects[key]
            return f"{key} deleted"
    objects[key] = bytes(data)
    return what


@pytest.mark.parametrize("part", range(5))
def test_random_damage_is_named_and_healed(whole: Whole, part: int) -> None:
    seen: Counter[str] = Counter()
    for trial in range(part, TRIALS, 5):
        some = random.Random(f"{SEED}.{trial}")
        objects = whole.objects.copy()
        groups = some.choice([GROUPS, *[(group,) for group in GROUPS]])
        keys = sorted(key for key in objects if key.startswith(groups))
        times = some.choice([1, 1, 1, 2, 3, 4])
        what = [_damage(some, objects, [key for key in keys if objects.get(key)]) for _ in range(times)]
        hurt = {key for key, data in whole.objects.items() if objects.get(key) != data}
        if hurt:
            seen[_one(whole, objects, hurt, f"trial {trial}: {'; '.join(what)}")] += 1
    assert seen["healed"] > TRIALS // 10


def _one(whole: Whole, objects: dict[str, bytes], hurt: set[str], place: str) -> str:
    small = _again(whole, objects)
    found = small.check()
    named = _named(whole, small, found, hurt)
    assert hurt <= named, f"not named: {hurt - named}: {place}"
    _survivors(whole, small, found, place)
    burden = Counter(whole.sets[key] for key in hurt)
    covered = all(count <= whole.shards[each] for each, count in burden.items())
    plan = plan_healing(small.vault, named | hurt, Progress())
    done = heal(small.vault, plan, Progress())
    keep_parity(small.vault, Progress(), doubted=found.read_bad)
    small.follow()
    for key in hurt - {key for key in hurt if key.startswith((PARITY_PACKS, PARITY_LOGS))}:
        back = _objects(small).get(key) == whole.objects[key]
        assert back or key in done.left, f"{key} was not brought back, and nobody says so: {place}"
        assert back or not covered, f"{key} is covered, and was not brought back ({done.left}): {place}"
    after = small.check()
    if done.left:
        _survivors(whole, small, after, place)
        return "left"
    assert not after.findings, f"{after.findings}: {place}"
    assert all(recovers(small, point, files) for point, files in whole.truth.items()), place
    assert log_reads(small, whole.log), place
    return "healed"


def _named(whole: Whole, small: SmallVault, found: Checked, hurt: set[str]) -> set[str]:
    """What a check names, or need not: of a set that lacks parity objects it names the others; of one that has none
    left nobody can tell, nor of a commit that hides or brings back, when it is gone with its parity. Parity is derived.
    """
    named = {each.object for each in found.findings}
    sets = {whole.sets[key] for key in named if key in whole.sets}
    left = {parity.id for parity in list_sets(small.store)[0]}
    for key in hurt:
        if key.startswith((PARITY_PACKS, PARITY_LOGS)) and key not in _objects(small):
            named |= {key} if whole.sets[key] in sets or whole.sets[key] not in left else set()
        elif key.startswith(COMMITS) and key not in _objects(small) and whole.sets[key] not in left:
            records = decode_commit(whole.objects[key]).commit.records
            named |= set() if any(isinstance(each, PlainPoint | PlainSegment) for each in records) else {key}
    return named


def _survivors(whole: Whole, small: SmallVault, found: Checked, place: str) -> None:
    """Points and logs of which nothing is said are whole; those that are not whole are named."""
    affected = {point for each in found.findings for point in each.points}
    unreadable = {each.object for each in found.findings if each.what == "commit"}
    for point, files in whole.truth.items():
        home = whole.small.catalog.commit_of(point)
        if point not in affected and home not in unreadable:
            assert recovers(small, point, files), f"not named, and does not recover: {place}"
    spoken = any(TIMELINE in each.timelines or each.what == "commit" for each in found.findings)
    assert spoken or log_reads(small, whole.log), f"a log is damaged, and not named: {place}"
