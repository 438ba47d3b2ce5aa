"""Sessions: announced before anything else, seen by collectors, ended by whoever puts the next commit first."""

from __future__ import annotations

from contextlib import suppress

import pytest

from knowngood.core.errors import Busy, Damaged, Fenced, StoreFailed
from knowngood.core.progress import Progress
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault, bury
from knowngood.vault.epoch import Epoch, put_epoch
from knowngood.vault.layout import INDEX, SESSIONS, commit_key, session_key
from knowngood.vault.record import Expiry, Fence, decode_commit
from knowngood.vault.session import Session, fence, is_dead, list_sessions

ANYTHING = (Expiry((b"p" * 16,), 0),)


def session_of(small: SmallVault, purpose: str = "test", *, exclusive: bool = False) -> Session:
    """A session that nobody closes, as one that is killed."""
    args = (small.store, small.vault.id, small.vault.writer.public, purpose)
    return Session(*args, without_index=exclusive, exclusive=exclusive)


def fence_of(small: SmallVault, session: Session) -> None:
    (card,) = (card for card in list_sessions(small.store) if card.id == session.id)
    fence(small.store, card, small.vault.writer.public, small.vault.id, 1)


def announced(small: SmallVault) -> list[str]:
    return [each.key for each in small.store.list(SESSIONS)]


# ------------------------------------------------------------------------------------------------------ announcing


def test_a_session_is_announced_while_it_lasts(small: SmallVault) -> None:
    with small.vault.session("look") as session:
        (card,) = list_sessions(small.store)
        assert (card.id, card.purpose, card.epoch) == (session.id, "look", 0)
        assert not is_dead(card)
    assert announced(small) == []


def test_a_failed_session_withdraws_its_announcement(small: SmallVault) -> None:
    with pytest.raises(ZeroDivisionError), small.vault.session("fail"):
        raise ZeroDivisionError
    assert announced(small) == []


def test_an_epoch_between_looking_and_announcing_is_seen(faulty: FaultyStore, shaky: SmallVault) -> None:
    """A collector puts its epoch before the card is there: it does not see the session, so the session must see it."""

    def collector(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(SESSIONS):
            faulty.before.clear()
            assert list_sessions(faulty.inner) == []
            put_epoch(faulty.inner, Epoch(number=1, condemned=(b"c" * 32,), condemned_at=1))

    faulty.before.append(collector)
    with shaky.vault.session("late") as session:
        assert session.epoch.number == 1
        assert session.epoch.condemned == (b"c" * 32,)
        (card,) = list_sessions(faulty)
        assert card.epoch == 1
    assert announced(shaky) == []


def test_an_epoch_just_after_announcing_is_seen(faulty: FaultyStore, shaky: SmallVault) -> None:
    """The collector sees the card; the session looks once more, and announces itself anew."""
    seen: list[int] = []

    def collector(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(SESSIONS):
            faulty.after.clear()
            put_epoch(faulty.inner, Epoch(number=1, condemned_at=1))
            seen.extend(card.epoch for card in list_sessions(faulty.inner))

    faulty.after.append(collector)
    with shaky.vault.session("late") as session:
        assert seen == [0]
        assert session.epoch.number == 1
    assert announced(shaky) == []


def test_an_epoch_after_the_second_look_finds_the_session(faulty: FaultyStore, shaky: SmallVault) -> None:
    looks: list[str] = []
    blockers: list[int] = []

    def collector(operation: str, key: str) -> None:
        if operation == "list" and key == INDEX:
            faulty.before.clear()
            put_epoch(faulty.inner, Epoch(number=1, condemned_at=1))
            blockers.extend(card.epoch for card in list_sessions(faulty.inner))
        looks.append(key)

    faulty.before.append(collector)
    with shaky.vault.session("early") as session:
        assert session.epoch.number == 0
        assert blockers == [0]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 10), ids="{}".format)
def test_a_session_that_cannot_begin_leaves_no_announcement(
    faulty: FaultyStore, shaky: SmallVault, at: int, *, after: bool
) -> None:
    """A card that stays while its process lives stops every collection."""
    shaky.protect({b"f": b"content"})
    faulty.fail(at, StoreFailed("gone for a moment"), after=after, counted=("put", "get", "list", "view"))
    with suppress(StoreFailed), shaky.vault.session("unlucky"):
        assert not faulty.failed
    faulty.mend()
    assert announced(shaky) == []


def test_a_card_that_cannot_be_withdrawn_fails_nothing(faulty: FaultyStore, shaky: SmallVault) -> None:
    """What was committed is committed: an error now would say that it was not."""
    with shaky.vault.session("fine") as session:
        session.commit(ANYTHING, None, 1)
        faulty.fail(1, StoreFailed("gone for a moment"), counted=("delete",))
    assert faulty.failed
    assert len(announced(shaky)) == 1


def test_an_error_inside_is_not_hidden_by_one_at_the_end(faulty: FaultyStore, shaky: SmallVault) -> None:
    with pytest.raises(ZeroDivisionError), shaky.vault.session("fail"):
        faulty.fail(1, StoreFailed("gone"), lasting=True)
        raise ZeroDivisionError


def test_a_damaged_index_ends_the_session_at_once(small: SmallVault) -> None:
    small.store.put(INDEX + "00" * 32, [b"no run"])
    with pytest.raises(Damaged), small.vault.session("look"):
        pass
    assert announced(small) == []


# ---------------------------------------------------------------------------------------------------------- cards


def test_a_damaged_card_does_not_stop_collection_for_ever(small: SmallVault) -> None:
    """Whoever it was, a fence keeps what it holds from becoming visible: the vault is safe without knowing."""
    session = session_of(small)
    key = session_key(session.id)
    assert isinstance(small.store, MemoryStore)
    small.store.objects[key] = b"x" + small.store.objects[key][1:]
    point = small.protect({b"f": b"content"})
    small.expire(point)
    done = small.collect()
    assert (done.fenced, done.waiting_for, done.deleted_packs) == (1, [], 2)
    assert announced(small) == []
    with pytest.raises(Fenced):
        session.commit(ANYTHING, None, 1)


def test_a_strange_file_among_the_sessions_stops_nothing(small: SmallVault) -> None:
    small.store.put(SESSIONS + "notes.txt", [b"hello"])
    assert list_sessions(small.store) == []
    small.collect()


def test_a_card_that_goes_while_cards_are_read(faulty: FaultyStore, shaky: SmallVault) -> None:
    session = session_of(shaky)

    def leaves(operation: str, key: str) -> None:
        if operation == "get" and key == session_key(session.id):
            faulty.inner.delete(key)

    faulty.before.append(leaves)
    assert list_sessions(faulty) == []


# -------------------------------------------------------------------------------------------------------- fencing


def test_a_fence_before_a_commit_wins(small: SmallVault) -> None:
    session = session_of(small)
    fence_of(small, session)
    with pytest.raises(Fenced):
        session.commit(ANYTHING, None, 1)
    assert announced(small) == []
    stored = decode_commit(small.store.get(commit_key(session.id, 0)), session.id, 0)
    assert stored.commit.records == (Fence(),)


def test_a_commit_before_a_fence_stays_and_is_the_last(small: SmallVault) -> None:
    session = session_of(small)
    session.commit(ANYTHING, None, 1)
    session.commit(ANYTHING, None, 2)
    fence_of(small, session)
    with pytest.raises(Fenced):
        session.commit(ANYTHING, None, 3)
    first = decode_commit(small.store.get(commit_key(session.id, 0)), session.id, 0)
    assert first.commit.records == ANYTHING
    assert decode_commit(small.store.get(commit_key(session.id, 2)), session.id, 2).commit.records == (Fence(),)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_fence_and_commit_at_the_same_time(faulty: FaultyStore, shaky: SmallVault, *, after: bool) -> None:
    """Whichever put comes first wins, and there is never a doubt which."""
    session = session_of(shaky)
    beside = shaky.beside(faulty.inner)

    def collector(operation: str, key: str) -> None:
        if operation == "put" and key == commit_key(session.id, 0):
            faulty.before.clear()
            faulty.after.clear()
            fence_of(beside, session)

    (faulty.after if after else faulty.before).append(collector)
    if after:
        session.commit(ANYTHING, None, 1)
    else:
        with pytest.raises(Fenced):
            session.commit(ANYTHING, None, 1)
    with pytest.raises(Fenced):
        session.commit(ANYTHING, None, 2)


def test_a_fenced_session_adds_nothing_to_the_index(small: SmallVault) -> None:
    """A collector took it for dead and deletes its packs: rows that led into them would be offered to everybody."""
    session = session_of(small)
    with pytest.raises(Fenced), small.vault.ingest(session, Progress()) as sink:
        sink.add(b"content")
        bury(small.store, session)
        small.expire(small.protect({b"f": b"other"}))
        assert small.collect().fenced == 1
        sink.flush()
    small.verify_known()


def test_a_dead_session_is_fenced_and_a_live_one_waited_for(small: SmallVault) -> None:
    point = small.protect({b"f": b"content"})
    small.expire(point)
    session = session_of(small, "sleeper")
    done = small.collect()
    assert [card.id for card in done.waiting_for] == [session.id]
    assert done.deleted_packs == 0
    bury(small.store, session)
    done = small.collect()
    assert (done.fenced, done.waiting_for, done.deleted_packs) == (1, [], 2)
    with pytest.raises(Fenced):
        session.commit(ANYTHING, None, 1)


# ----------------------------------------------------------------------------------------------- one at a time


def test_there_is_one_exclusive_session_at_a_time(small: SmallVault) -> None:
    first = session_of(small, "first", exclusive=True)
    with pytest.raises(Busy, match="first"):
        session_of(small, "second", exclusive=True)
    session_of(small, "ordinary")
    first.close()
    session_of(small, "second", exclusive=True)


def test_a_dead_exclusive_session_is_replaced(small: SmallVault) -> None:
    first = session_of(small, "first", exclusive=True)
    bury(small.store, first)
    session_of(small, "second", exclusive=True)
    assert [card.purpose for card in list_sessions(small.store)] == ["second"]


def test_two_exclusive_sessions_at_once_both_give_way(faulty: FaultyStore, shaky: SmallVault) -> None:
    beside = shaky.beside(faulty.inner)

    def second(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(SESSIONS):
            faulty.after.clear()
            with pytest.raises(Busy):
                session_of(beside, "second", exclusive=True)

    faulty.after.append(second)
    session_of(shaky, "first", exclusive=True)
    assert [card.purpose for card in list_sessions(faulty)] == ["first"]
