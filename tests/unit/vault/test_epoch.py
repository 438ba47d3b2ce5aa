"""Epochs: whoever puts a number first decides what it is; the newest is in force; damage is told of with its remedy."""

from __future__ import annotations

import pytest

from knowngood.core.errors import Damaged, Exists
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.vault.epoch import Epoch, latest_epoch, latest_epoch_or_blank, put_epoch, read_epoch
from knowngood.vault.layout import EPOCHS, epoch_key


def test_without_any_epoch_number_0_is_in_force() -> None:
    assert latest_epoch(MemoryStore()) == Epoch()


def test_the_newest_is_in_force_and_reads_back_whole() -> None:
    store = MemoryStore()
    epoch = Epoch(
        number=2,
        superseded=(b"s" * 32,),
        condemned=(b"c" * 32,),
        condemned_at=2,
        deleted=((b"d" * 32, 1),),
        purged=(b"p" * 16,),
    )
    put_epoch(store, Epoch(number=1))
    put_epoch(store, epoch)
    assert latest_epoch(store) == epoch


def test_the_second_to_put_a_number_loses() -> None:
    store = MemoryStore()
    put_epoch(store, Epoch(number=1, superseded=(b"a" * 32,)))
    with pytest.raises(Exists):
        put_epoch(store, Epoch(number=1, superseded=(b"b" * 32,)))
    assert latest_epoch(store).superseded == (b"a" * 32,)


def test_only_the_last_two_are_kept() -> None:
    store = MemoryStore()
    for number in range(1, 6):
        put_epoch(store, Epoch(number=number))
    assert sorted(store.objects) == [epoch_key(4), epoch_key(5)]


def test_a_number_that_was_decided_and_cleaned_away_cannot_be_put_again() -> None:
    """A collector that slept through several epochs wakes up: its number is free again, and is not its own."""
    store = MemoryStore()
    for number in range(1, 6):
        put_epoch(store, Epoch(number=number))
    with pytest.raises(Exists):
        put_epoch(store, Epoch(number=2))
    assert latest_epoch(store).number == 5
    assert epoch_key(2) not in store.objects


def test_an_epoch_that_is_cleaned_away_while_it_is_looked_for() -> None:
    store = FaultyStore(MemoryStore())
    put_epoch(store, Epoch(number=1))

    def others(operation: str, key: str) -> None:
        if operation == "get":
            store.before.clear()
            for number in (2, 3):
                put_epoch(store.inner, Epoch(number=number))

    store.before.append(others)
    assert latest_epoch(store).number == 3


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: b"", lambda data: b"x" + data[1:]])
def test_a_damaged_epoch_says_how_to_rebuild(change) -> None:
    store = MemoryStore()
    put_epoch(store, Epoch(number=7, condemned=(b"c" * 32,), condemned_at=7))
    store.objects[epoch_key(7)] = change(store.objects[epoch_key(7)])
    with pytest.raises(Damaged) as raised:
        latest_epoch(store)
    assert "vault rebuild" in raised.value.hint
    assert latest_epoch_or_blank(store) == Epoch(number=7)


def test_a_strange_file_among_the_epochs_does_no_harm() -> None:
    store = MemoryStore()
    put_epoch(store, Epoch(number=1))
    store.put(EPOCHS + "notes.txt", [b"hello"])
    assert latest_epoch(store).number == 1
    assert latest_epoch_or_blank(store).number == 1
    put_epoch(store, Epoch(number=2))
    assert read_epoch(store, 2).number == 2
    assert EPOCHS + "notes.txt" in store.objects
