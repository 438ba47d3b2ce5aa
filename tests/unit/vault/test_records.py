"""Commits and what stands after all of them."""

from __future__ import annotations

import random

import pytest

from knowngood.core.errors import Damaged, KnowngoodError
from knowngood.core.ids import new_id
from knowngood.seal.keys import PrivateKey
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault
from knowngood.vault.layout import COMMITS, commit_key
from knowngood.vault.record import (
    Commit,
    Expiry,
    Hidden,
    PlainCheckpoint,
    PlainPoint,
    Undo,
    decode_commit,
    encode_commit,
)
from knowngood.vault.standing import read_standing

VAULT = b"v" * 16
PRIVATE = PrivateKey(bytes(32))


def put(store: MemoryStore, received: int, *records: object, session: bytes | None = None, number: int = 0) -> str:
    commit = Commit(session or new_id(), number, received, records)  # type: ignore[arg-type]
    key = commit_key(commit.session, number)
    store.put(key, [encode_commit(commit, None, PRIVATE.public, VAULT)])
    return key


def point(identifier: bytes) -> PlainPoint:
    return PlainPoint(identifier, b"s" * 16, ())


P, Q = b"p" * 16, b"q" * 16


def test_the_last_word_about_a_point_counts() -> None:
    store = MemoryStore()
    put(store, 1, point(P))
    put(store, 2, point(Q))
    put(store, 10, Expiry((P, Q), 100))
    put(store, 20, Undo((P,)))
    standing = read_standing(store)
    assert standing.hidden_until == {Q: 110}
    put(store, 30, Expiry((P,), 5))
    assert read_standing(store).hidden_until == {P: 35, Q: 110}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_listing_does_not_matter(order: tuple[int, ...]) -> None:
    store = MemoryStore()
    acts = [(10, Expiry((P,), 7)), (20, Undo((P,))), (30, Expiry((P,), 8))]
    put(store, 1, point(P))
    for at in order:
        put(store, *acts[at])
    assert read_standing(store).hidden_until == {P: 38}


def test_a_point_can_be_purged_from_the_end_of_its_window_on() -> None:
    store = MemoryStore()
    put(store, 1, point(P))
    put(store, 10, Expiry((P, Q), 100))
    standing = read_standing(store)
    assert standing.purgeable(109) == set()
    assert standing.purgeable(110) == {P}  # of Q there is no commit


def test_roots_are_those_of_the_points_that_stay() -> None:
    from knowngood.core.model import Mark

    store = MemoryStore()
    c, d = b"c" * 16, b"d" * 16
    put(store, 1, PlainCheckpoint(c, b"t" * 16, b"R" * 32), PlainPoint(P, b"s" * 16, (Mark(b"t" * 16, c),)))
    put(store, 2, PlainCheckpoint(d, b"t" * 16, b"R" * 32), PlainPoint(Q, b"s" * 16, (Mark(b"t" * 16, d),)))
    standing = read_standing(store)
    assert sorted(standing.roots_of(without=set())[b"R" * 32]) == [P, Q]
    assert standing.roots_of(without={P}) == {b"R" * 32: [Q]}


def test_damaged_commits_are_told_of_and_the_others_read() -> None:
    store = MemoryStore()
    good = put(store, 1, point(P))
    bad = put(store, 2, point(Q))
    store.objects[bad] = store.objects[bad][:-1]
    store.put(COMMITS + "notes.txt", [b"hello"])
    store.put(commit_key(new_id(), 0), [store.objects[good]])  # under a key that is not its own
    standing = read_standing(store)
    assert standing.points.keys() == {P}
    assert len(standing.damaged) == 3


@pytest.mark.parametrize("hidden", [None, Hidden()], ids=["plain", "hidden"])
def test_every_flip_and_cut_of_a_commit_shows(hidden: Hidden | None, some: random.Random) -> None:
    commit = Commit(P, 3, 5, (point(Q),))
    data = encode_commit(commit, hidden, PRIVATE.public, VAULT)
    assert decode_commit(data, P, 3).commit == commit
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << some.randrange(8)
        with pytest.raises(Damaged):
            decode_commit(bytes(changed), P, 3)
        with pytest.raises(Damaged):
            decode_commit(data[:at], P, 3)


def test_the_hidden_part_is_bound_to_the_plain_one(small: SmallVault) -> None:
    small.protect({b"f": b"content"})
    (each,) = small.store.list(COMMITS)
    sealed = decode_commit(small.store.get(each.key))
    assert sealed.has_hidden
    assert sealed.open(small.private, small.vault.id).points[0].service == "s"
    with pytest.raises(KnowngoodError):
        sealed.open(PrivateKey.generate(), small.vault.id)
    with pytest.raises(KnowngoodError):
        sealed.open(small.private, b"another vault 16")
