"""What a store on a disk may rely on when others were killed there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knowngood.core.errors import Exists
from knowngood.seal.keys import PrivateKey
from knowngood.stores.disk import DiskStore
from knowngood.vault.descriptor import KeyFile, write_key_file
from knowngood.vault.record import PlainSegment
from knowngood.vault.spool import Spool

KEY = "packs/ab/abcd"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were synced, in order."""
    paths: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        paths.append(os.readlink(f"/proc/self/fd/{handle}"))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def test_folders_that_a_killed_writer_made_are_made_durable(place: Path, synced: list[str]) -> None:
    """It made them and was killed before it had synced: an object in them would be lost with them."""
    (place / "packs" / "ab").mkdir(parents=True)
    store = DiskStore(place)
    store.put(KEY, [b"content"])
    assert {str(place.parent), str(place), str(place / "packs"), str(place / "packs" / "ab")} <= set(synced)
    synced.clear()
    store.put(KEY + "e", [b"content"])
    assert str(place / "packs") not in synced  # once is enough


def test_who_is_told_that_an_object_exists_can_rely_on_it(place: Path, synced: list[str]) -> None:
    """Its writer may have been killed before it had synced the folder."""
    DiskStore(place).put(KEY, [b"content"])
    synced.clear()
    with pytest.raises(Exists):
        DiskStore(place).put(KEY, [b"content"])
    assert str(place / "packs" / "ab") in synced


def test_every_new_folder_above_a_vault_is_made_durable(place: Path, synced: list[str]) -> None:
    root = place / "mounted" / "backups" / "vault"
    DiskStore(root).put(KEY, [b"content"])
    assert {str(place), str(place / "mounted"), str(place / "mounted" / "backups"), str(root)} <= set(synced)


def test_a_folder_above_that_a_killed_process_made_is_made_durable(place: Path, synced: list[str]) -> None:
    """It was killed after it had made it, and before it had synced that: the vault would be lost with it."""
    (place / "mounted").mkdir()
    DiskStore(place / "mounted" / "vault").put(KEY, [b"content"])
    assert {str(place), str(place / "mounted"), str(place / "mounted" / "vault")} <= set(synced)


def test_what_a_settled_listing_shows_is_durable(place: Path, synced: list[str]) -> None:
    """Its writer may have been killed before it had synced it; a power cut must not undo what others rely on."""
    store = DiskStore(place)
    store.put(KEY, [b"content"])
    synced.clear()
    assert [each.key for each in store.list("packs/")] == [KEY]
    assert not synced
    assert [each.key for each in store.list("packs/", settled=True)] == [KEY]
    assert {str(place / "packs"), str(place / "packs" / "ab")} <= set(synced)


def test_a_spool_that_a_killed_process_left_is_made_durable(place: Path, synced: list[str]) -> None:
    """It was killed before it had synced the tick, or the folder. Whoever finds the tick lands it, or adds to it."""
    spool = Spool(str(place), b"v" * 16, b"t" * 16)
    spool.append(PlainSegment(b"t" * 16, b"", 0, 1, bytes(32), b"l" * 32, 0), 0, {}, [], [])
    spool.close()
    synced.clear()
    again = Spool(str(place), b"v" * 16, b"t" * 16)
    assert len(again.ticks) == 1
    again.close()
    assert synced == [str(place / "spool"), str(place)]


def test_a_passphrase_is_changed_only_beside_a_durable_copy(place: Path, synced: list[str]) -> None:
    """A process that was killed while it wrote one copy may not have synced it; this one deletes the other first."""
    store = DiskStore(place)
    key = KeyFile(PrivateKey.generate().public, b"naming", None)
    write_key_file(store, key)
    synced.clear()
    write_key_file(DiskStore(place), key, replace=True)
    assert synced[0] == str(place / "keys")
