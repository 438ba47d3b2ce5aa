"""Unlocking: the right key among several, and key files that say strange things."""

from __future__ import annotations

import pytest

from knowngood.core.errors import Damaged, Locked
from knowngood.seal.keys import PrivateKey
from knowngood.testing.stores import MemoryStore
from knowngood.vault.descriptor import KeyFile, naming_purpose, read_key_files, unchecked, write_key_file
from knowngood.vault.layout import key_file
from knowngood.vault.unlock import (
    change_passphrase,
    rotate,
    unlock_with_passphrase,
    unlock_with_recovery_key,
    writer_key,
)
from knowngood.vault.vault import create_vault
from tests.unit.seal.test_keys import cheap_lock

WORDS = b"the same passphrase"


def locked(store: MemoryStore, private: PrivateKey, passphrase: bytes = WORDS) -> None:
    """Put a key's file anew, with a lock that opens at once."""
    (key,) = (each for each in read_key_files(store) if each.public == private.public)
    lock = cheap_lock(private.recovery_key, passphrase)
    write_key_file(store, KeyFile(key.public, key.naming, lock, key.previous), replace=True)


def test_the_passphrase_opens_the_vault() -> None:
    store = MemoryStore()
    vault, private = create_vault(store, None)
    with pytest.raises(Locked):
        unlock_with_passphrase(store, WORDS)
    locked(store, private)
    assert unlock_with_passphrase(store, WORDS).recovery_key == private.recovery_key
    assert writer_key(store, private) == vault.writer
    with pytest.raises(Locked):
        unlock_with_passphrase(store, b"another")


@pytest.mark.parametrize("number", range(8))
def test_the_key_of_an_interrupted_init_is_passed_over(number: int) -> None:
    """Its file opens with the same passphrase, comes first or last, and is of a vault that never was."""
    store = MemoryStore()
    _, private = create_vault(store, None)
    locked(store, private)
    stale = PrivateKey(bytes([number]) * 32)
    naming = stale.public.seal(bytes(32), naming_purpose(b"another vault...".ljust(16)))
    write_key_file(store, KeyFile(stale.public, naming, cheap_lock(stale.recovery_key, WORDS)))
    assert unlock_with_passphrase(store, WORDS).recovery_key == private.recovery_key


@pytest.mark.parametrize("number", range(4))
def test_after_an_interrupted_rotation_the_newer_key_counts(number: int) -> None:
    store = MemoryStore()
    _, old = create_vault(store, None)
    locked(store, old)
    before = {each.key: store.get(each.key) for each in store.list("keys/")}
    new = rotate(store, old, None)
    locked(store, new)
    for key, data in before.items():  # as if it had been killed before it deleted them
        store.put(key, [data])
    opened = unlock_with_passphrase(store, WORDS)
    assert opened.recovery_key == new.recovery_key
    assert [each.recovery_key for each in opened.previous] == [old.recovery_key]


def test_a_recovery_key_brings_the_previous_ones() -> None:
    store = MemoryStore()
    _, first = create_vault(store, None)
    second = rotate(store, first, None)
    third = rotate(store, second, None)
    opened = unlock_with_recovery_key(store, third.recovery_key)
    assert [each.recovery_key for each in opened.previous] == [second.recovery_key, first.recovery_key]
    for gone in (first, second, PrivateKey.generate()):
        with pytest.raises(Locked):
            unlock_with_recovery_key(store, gone.recovery_key)


def test_a_passphrase_can_be_taken_away() -> None:
    store = MemoryStore()
    _, private = create_vault(store, None)
    locked(store, private)
    change_passphrase(store, private, None)
    with pytest.raises(Locked):
        unlock_with_passphrase(store, WORDS)
    assert unlock_with_recovery_key(store, private.recovery_key).public == private.public


def test_one_copy_of_a_key_file_is_enough() -> None:
    store = MemoryStore()
    _, private = create_vault(store, None)
    name = key_file(private.public.fingerprint)
    store.delete(name)
    store.put(name, [b"{}"])
    assert unlock_with_recovery_key(store, private.recovery_key).public == private.public


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b'"text"', b"null", b"{}", b'{"checksum": []}', b"\xff", b"[[[["])
def test_strange_documents_are_damage(data: bytes) -> None:
    with pytest.raises(Damaged):
        unchecked(data)


def test_a_lock_of_another_kind_is_not_tried() -> None:
    store = MemoryStore()
    _, private = create_vault(store, None)
    locked(store, private)
    document = unchecked(store.get(key_file(private.public.fingerprint)))
    assert KeyFile.decode(document).lock
    document["lock"]["kdf"] = "scrypt"
    with pytest.raises(Damaged):
        KeyFile.decode(document)
