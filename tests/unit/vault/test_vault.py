"""Making and opening vaults."""

from __future__ import annotations

import pytest

from knowngood.core.errors import Exists, KnowngoodError, Locked, NotFound, StoreFailed, Unsupported
from knowngood.testing.stores import FaultyStore, MemoryStore
from knowngood.testing.vaults import SmallVault
from knowngood.vault.descriptor import Descriptor, mend_copies, read_descriptor, small_objects
from knowngood.vault.layout import COMMITS, DESCRIPTOR, DESCRIPTOR_COPY, KEYS, PACKS
from knowngood.vault.vault import WriterKey, create_vault, open_vault


def test_there_is_one_vault_in_a_place(small: SmallVault) -> None:
    with pytest.raises(Exists):
        create_vault(small.store, None)


@pytest.mark.parametrize("key", [DESCRIPTOR, DESCRIPTOR_COPY])
def test_either_copy_of_the_descriptor_is_enough(small: SmallVault, key: str) -> None:
    assert isinstance(small.store, MemoryStore)
    for harm in (b"", b"{}", b"[]", b"nonsense", b'{"checksum": 1}', None):
        good = small.store.objects.pop(key)
        if harm is not None:
            small.store.objects[key] = harm
        assert open_vault(small.store, small.vault.writer).id == small.vault.id
        with pytest.raises(Exists):
            create_vault(small.store, None)
        small.store.objects[key] = good


def test_a_copy_that_cannot_be_read_for_a_moment_does_not_matter(faulty: FaultyStore, shaky: SmallVault) -> None:
    faulty.fail(1, StoreFailed("a bad sector"), counted=("get",))
    assert open_vault(faulty, shaky.vault.writer).id == shaky.vault.id
    assert faulty.failed


def test_without_any_descriptor_there_is_no_vault(small: SmallVault) -> None:
    for key in (DESCRIPTOR, DESCRIPTOR_COPY):
        small.store.delete(key)
    with pytest.raises(NotFound):
        open_vault(small.store, small.vault.writer)


@pytest.mark.parametrize("folder", [COMMITS, PACKS])
def test_no_vault_is_made_over_one_that_lost_its_descriptor(small: SmallVault, folder: str) -> None:
    """Its packs would be garbage of the new one, and collected."""
    small.protect({b"f": b"content"})
    for key in (DESCRIPTOR, DESCRIPTOR_COPY):
        small.store.delete(key)
    for each in [*small.store.list(COMMITS), *small.store.list(PACKS)]:
        if not each.key.startswith(folder):
            small.store.delete(each.key)
    with pytest.raises(KnowngoodError, match="descriptor"):
        create_vault(small.store, None)


def test_a_vault_that_was_not_finished_is_made_anew() -> None:
    at = 1
    while True:
        store = FaultyStore(MemoryStore())
        store.fail(at, StoreFailed("gone"), lasting=True)
        try:
            create_vault(store, None)
        except StoreFailed:
            store.mend()
            if DESCRIPTOR not in [each.key for each in store.list("")]:
                vault, _ = create_vault(store, None)
                assert open_vault(store, vault.writer).id == vault.id
            at += 1
        else:
            break
    assert at > 4


def test_the_writer_of_another_vault_is_refused(small: SmallVault) -> None:
    other = SmallVault(MemoryStore())
    with pytest.raises(Locked):
        open_vault(small.store, other.vault.writer)
    with pytest.raises(Locked):
        open_vault(small.store, WriterKey(bytes(16), small.vault.writer.public, bytes(32)))


@pytest.mark.parametrize("operation", ["read", "write", "delete", "check"])
def test_unknown_features_stop_what_needs_them_and_nothing_else(small: SmallVault, operation: str) -> None:
    plain = read_descriptor(small.store)
    newer = Descriptor(plain.vault_id, plain.sizes, plain.created, {operation: ("from-the-future",)})
    for key in (DESCRIPTOR, DESCRIPTOR_COPY):
        small.store.delete(key)
        small.store.put(key, [newer.encode()])
    small.protect({b"f": b"content"})
    small.vault = open_vault(small.store, small.vault.writer)
    verbs = {
        "read": lambda: small.recover(small.catalog.points()[0]),
        "write": lambda: small.protect({b"f": b"more"}),
        "delete": small.collect,
        "check": small.check,
    }
    with pytest.raises(Unsupported, match="from-the-future"):
        verbs[operation]()
    if operation != "read":  # everything reads
        for other in verbs.keys() - {operation}:
            verbs[other]()


def test_copies_are_mended_from_each_other(small: SmallVault) -> None:
    assert isinstance(small.store, MemoryStore)
    whole = dict(small.store.objects)
    pairs = small_objects(small.store)
    assert {key for pair in pairs for key in pair} == {key for key in whole if key.startswith((KEYS, "vault"))}
    assert mend_copies(small.store) == []
    for pair in pairs:
        for key in pair:
            small.store.objects[key] = b"damaged"
            assert mend_copies(small.store) == [key]
            del small.store.objects[key]
            assert mend_copies(small.store) == [key]
            assert small.store.objects == whole
        for key in pair:
            small.store.objects[key] = b"damaged"
        assert mend_copies(small.store) == []  # nothing to mend them from
        small.store.objects.update({key: whole[key] for key in pair})
