"""Collections beside others: what once lost data, or could have."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from knowngood.core.errors import Fenced, KnowngoodError, StoreFailed
from knowngood.core.instants import now_ns
from knowngood.core.model import Judgement
from knowngood.core.progress import Progress
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault, small_packs, write_tree
from knowngood.vault.layout import COMMITS, EPOCHS, INDEX, SESSIONS
from knowngood.vault.rebuild import rebuild_index
from knowngood.vault.record import Expiry, Undo
from knowngood.vault.session import Session, fence, list_sessions
from knowngood.vault.standing import read_standing

Files = dict[bytes, bytes]


def files(some: random.Random, count: int) -> Files:
    return {b"file%d" % number: some.randbytes(1500) for number in range(count)}


@pytest.mark.parametrize("committed", [False, True])
def test_a_session_that_lands_and_ends_while_a_collector_marks(
    faulty: FaultyStore, shaky: SmallVault, some: random.Random, *, committed: bool
) -> None:
    """Its packs were condemned before its run was there. The run once stayed in force and told of deleted packs, and
    the next writer of the same content referred to them."""
    shaky.expire(shaky.protect(files(some, 6)))
    kept = files(some, 3)
    truth = {shaky.protect(kept).id: kept}
    late = files(some, 8)
    session = shaky.vault.session("late")
    opened = session.__enter__()
    sink = shaky.vault.ingest(opened, Progress())
    ingest = sink.__enter__()
    with small_packs():
        root = write_tree(late, ingest)

    def meanwhile(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(EPOCHS):
            faulty.before.clear()
            ingest.flush()  # publishes the run
            if committed:
                truth[shaky.commit(opened, root).id] = late
            sink.__exit__(None, None, None)
            session.__exit__(None, None, None)

    faulty.before.append(meanwhile)
    shaky.collect()
    assert not faulty.before
    shaky.verify_known()
    truth[shaky.protect(late, "again").id] = late
    shaky.verify(truth)
    shaky.collect_all()
    shaky.verify(truth)
    assert shaky.check().findings == []


@pytest.mark.parametrize("chance", range(6))
def test_what_an_interrupted_collection_left_may_be_what_the_next_one_makes(
    faulty: FaultyStore, shaky: SmallVault, chance: int
) -> None:
    """The copy of the first was condemned as worthless, made again by the second under the same name, and deleted."""
    some = random.Random(chance)
    everything = files(some, 12)
    kept = dict(list(everything.items())[:3])
    with small_packs(raw=1 << 20):
        shaky.expire(shaky.protect(everything))
        truth = {shaky.protect(kept).id: kept}

    def stop(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(EPOCHS) and key.endswith("2"):
            raise StoreFailed("the power went off")

    faulty.before.append(stop)
    with pytest.raises(KnowngoodError):
        shaky.collect()
    faulty.before.clear()
    for folder in (EPOCHS, INDEX, SESSIONS):  # the epochs are lost as well, and with them what was condemned
        for each in list(shaky.store.list(folder)):
            shaky.store.delete(each.key)
    rebuild_index(shaky.vault, Progress())
    shaky.collect_all()
    shaky.verify(truth)
    assert shaky.check().findings == []


def after_condemning(faulty: FaultyStore, act: Callable[[], None]) -> None:
    """Act once, when the next epoch has been put and the collector has not looked for sessions yet."""

    def meanwhile(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(EPOCHS):
            faulty.after.clear()
            act()

    faulty.after.append(meanwhile)


def test_a_point_that_was_brought_back_and_hidden_again_is_not_relied_on(
    faulty: FaultyStore, shaky: SmallVault, some: random.Random
) -> None:
    """INV-6. A collector takes it at once, as it had decided. A session that began after that decision, and saw the
    point while it was shown, once relied on what it needs, and its own point was lost."""
    first = files(some, 4)
    point = shaky.protect(first)
    shaky.expire(point)
    older, newer = shaky.vault.session("undo"), shaky.vault.session("protect")
    undoing = older.__enter__()
    other = shaky.beside()
    trusted: list[frozenset[bytes]] = []

    def meanwhile() -> None:
        writing = newer.__enter__()
        shaky.vault.undo(undoing, shaky.catalog, (point.id,))
        older.__exit__(None, None, None)
        other.follow()
        assert [each.id for each in other.catalog.points()] == [point.id]
        trusted.append(other.catalog.trusted_checkpoints(writing.epoch.purged))
        shaky.expire(point)

    after_condemning(faulty, meanwhile)
    assert shaky.collect().purged_points == 1
    newer.__exit__(None, None, None)
    assert trusted == [frozenset()]


def test_a_fence_stops_a_session_whose_first_commit_spoke_of_a_point_that_is_gone(
    faulty: FaultyStore, shaky: SmallVault, some: random.Random
) -> None:
    """INV-3. Collection once deleted that commit while the session lived. A fence for it then took number 0, and the
    next commit came through."""
    point = shaky.protect(files(some, 4))
    shaky.expire(point)
    stay = shaky.vault.session("drill")
    sessions: list[Session] = []

    def meanwhile() -> None:
        sessions.append(stay.__enter__())
        shaky.vault.judge(sessions[0], shaky.catalog, (Judgement(point=point.id, status="proven", at_ns=1),))

    after_condemning(faulty, meanwhile)
    assert shaky.collect().purged_points == 1
    (card,) = list_sessions(shaky.store)
    fence(shaky.store, card, shaky.vault.writer.public, shaky.vault.id, now_ns())
    with pytest.raises(Fenced):
        shaky.vault.judge(sessions[0], shaky.catalog, (Judgement(point=point.id, status="suspect", at_ns=2),))
    stay.__exit__(None, None, None)
    shaky.collect()
    shaky.follow()
    assert not shaky.catalog.judgements()  # it went when the session had


def test_what_a_listing_missed_is_not_taken_for_gone(
    faulty: FaultyStore, shaky: SmallVault, some: random.Random
) -> None:
    """A listing may miss a point that came while it was made, and show that it was hidden after that. The commit that
    hid it was once deleted, as nobody seemed to hold such a point, and it showed itself again."""
    shaky.expire(shaky.protect(files(some, 4)))
    assert shaky.collect().purged_points == 1
    point = shaky.protect(files(some, 2))
    home = shaky.catalog.commit_of(point.id)
    shaky.expire(point, undo_ns=10**18)

    def once(operation: str, key: str) -> None:
        if operation == "list" and key == COMMITS:
            faulty.before.clear()
            faulty.freeze_listing(COMMITS, without=home)
            faulty.after.append(true_again)

    def true_again(*_: str) -> None:
        faulty.after.clear()
        faulty.mend()

    faulty.before.append(once)
    shaky.collect()
    shaky.follow()
    assert point.id in shaky.catalog.expired()


@pytest.mark.parametrize("hidden_first", [False, True])
def test_of_two_at_one_moment_all_see_the_same_one_last(
    small: SmallVault, some: random.Random, *, hidden_first: bool
) -> None:
    """Behind a clock that was once ahead, receive times are counted, and two sessions may have the same one. A
    collector that took a point for hidden while writers saw it would take away what they rely on (INV-6)."""
    point = small.protect(files(some, 1))
    records = [Expiry((point.id,), 0), Undo((point.id,))]
    with small.vault.session("one") as one, small.vault.session("two") as two:
        for session, record in zip((one, two), records if hidden_first else records[::-1], strict=True):
            session.commit((record,), None, point.received_ns + 5)
    assert isinstance(small.store, MemoryStore)
    seen: set[bool] = set()
    for turned in (False, True):
        keys = sorted(small.store.objects, reverse=turned)
        store = MemoryStore()
        store.objects |= {key: small.store.objects[key] for key in keys}
        other = small.beside(store)
        seen |= {point.id in other.catalog.expired(), point.id in read_standing(store).hidden_until}
    small.follow()
    assert seen == {point.id in small.catalog.expired()}
