"""Somebody has a writer's key and all files of its host, or the vault's disk: what he cannot do (docs/threats.md).

He may write into the vault what he likes, with checksums that are right. He has neither private key nor passphrase.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from knowngood.core.errors import Damaged, Fenced, KnowngoodError, Locked
from knowngood.core.ids import Name
from knowngood.core.instants import now_ns
from knowngood.core.progress import Progress
from knowngood.seal.frame import Contents, FrameKind, read_frame, seal_frame
from knowngood.seal.keys import PrivateKey
from knowngood.stores.disk import DiskStore
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault
from knowngood.vault.layout import COMMITS, INDEX, KEYS, PACKS, PAGES, commit_key, commit_place
from knowngood.vault.pack import ContentKey, PackKind, build_pack, key_purpose, open_content_key, salvage_pack
from knowngood.vault.rebuild import rebuild_index
from knowngood.vault.record import PlainPoint, decode_commit, unwrap_plain, wrap_plain
from knowngood.vault.run import make_row
from knowngood.vault.session import fence, list_sessions
from knowngood.vault.unlock import unlock_with_passphrase
from knowngood.vault.vault import create_vault

SECRET = b"the owner's most secret letter, " * 40


@pytest.fixture
def small() -> SmallVault:
    """A vault with one point that holds a secret."""
    made = SmallVault(MemoryStore())
    made.protect({b"secret.txt": SECRET, b"other": b"other " * 300})
    return made


def objects(small: SmallVault, prefix: str = "") -> dict[str, bytes]:
    assert isinstance(small.store, MemoryStore)
    return {key: bytes(data) for key, data in small.store.objects.items() if key.startswith(prefix)}


# ------------------------------------------------------------------------------------------------ reading


def test_the_key_of_a_writer_opens_nothing(small: SmallVault) -> None:
    """Neither content keys nor hidden parts; no key that can be made of what he holds does."""
    writer = small.vault.writer
    guesses = [PrivateKey(writer.naming), PrivateKey(writer.vault_id * 2), PrivateKey(writer.public.raw[:32])]
    for data in objects(small, PACKS).values():
        frame = next(salvage_pack(data))
        assert frame
        sealed = read_frame(data[32 : 32 + 64 + 32 + 1168])
        for private in guesses:
            with pytest.raises(KnowngoodError):
                private.open(bytes(sealed.body), key_purpose(small.vault.id))
        for key in (writer.naming, writer.public.fingerprint, bytes(32)):
            with pytest.raises(InvalidTag):
                AESGCM(key).decrypt(bytes(12), bytes(sealed.body), b"")
    for key, data in objects(small, COMMITS).items():
        for private in guesses:
            with pytest.raises(KnowngoodError):
                decode_commit(data, *commit_place(key)).open(private, small.vault.id)


def test_the_disk_of_a_vault_shows_no_content_and_no_names(small: SmallVault) -> None:
    """What stands in the plain is what docs/threats.md lists: nothing of what was protected, nor what it is called."""
    for data in objects(small).values():
        for word in (SECRET[:16], b"secret.txt", b"other ", b"/source", small.vault.writer.naming):
            assert word not in data


def test_a_passphrase_that_is_not_the_right_one_opens_nothing() -> None:
    """And says so."""
    store = MemoryStore()
    create_vault(store, b"right")
    with pytest.raises(Locked):
        unlock_with_passphrase(store, b"wrong")


# ------------------------------------------------------------------------------- putting things under other names


def _forged(small: SmallVault, name: bytes, content: bytes) -> None:
    """Content under a name that is not its own, sealed as a writer seals, with a run that leads to it."""
    key = ContentKey.generate(small.vault.writer.public, small.vault.id)
    contents = Contents(FrameKind.DATA, name, b"", content, content.__eq__)
    frame = seal_frame(contents, key.key, key.key_id, 0)
    pack = build_pack(PackKind.DATA, [key.frame], [frame])
    with small.vault.session("forge") as session:
        session.land(pack)
        session.publish(
            {pack.name: 1}, [make_row(each.name, pack.name, each.offset, each.length) for each in pack.placed]
        )


def test_content_under_another_name_is_never_taken_for_it(small: SmallVault) -> None:
    """A writer can compute names, and seal: what he stores under one that is not its own is refused when it is read."""
    name = small.vault.writer.namer.chunk(b"what somebody else will store")
    _forged(small, name, b"rubbish")
    with small.vault.session("read") as session, pytest.raises(Damaged):
        small.vault.reader(session, small.private).chunk(Name(name))


def test_a_forged_copy_does_not_hide_a_good_one(small: SmallVault) -> None:
    """Of two places with the same name, the one that proves itself counts."""
    (point,) = small.catalog.points()
    _forged(small, small.vault.writer.namer.chunk(SECRET), b"rubbish")
    assert small.recover(point)[b"secret.txt"] == SECRET


def test_chunks_that_swap_their_places_are_noticed(small: SmallVault) -> None:
    """Frames with each other's names, in a pack whose own name is right: names are authenticated with the body."""
    for each in (b"x" * 300_000, b"y" * 300_000):
        small.protect({b"large": each}, piece=1 << 20)
    frames = [
        data[each.offset : each.offset + each.header.total_bytes]
        for data in objects(small, PACKS).values()
        for each in salvage_pack(data)
    ]
    one, two = [each for each in frames if len(each) < 2000 and int.from_bytes(each[12:16], "little") == 1][-2:]
    swapped = bytearray(one)
    swapped[64:96] = two[64:96]
    with pytest.raises(Damaged):
        read_frame(bytes(swapped))
    swapped[48:64] = blake3(swapped[:48] + swapped[64:]).digest()[:16]  # the checksum has no key; the tag has
    frame = read_frame(bytes(swapped))
    keys = [
        open_content_key(read_frame(data[32 : 32 + 64 + 32 + 1168]), small.private, small.vault.id)
        for data in objects(small, PACKS).values()
    ]
    for key in keys:
        with pytest.raises(Damaged):
            frame.open(key)


@pytest.mark.parametrize("folder", [PACKS, PAGES, COMMITS])
def test_an_object_in_another_ones_place_is_noticed(small: SmallVault, folder: str) -> None:
    """Whoever has the disk may copy one over another."""
    small.protect({b"second": b"2" * 3000})
    store = small.store
    assert isinstance(store, MemoryStore)
    one, two = sorted(objects(small, folder))[:2]
    store.objects[one], store.objects[two] = store.objects[two], store.objects[one]
    assert small.check().findings


# ----------------------------------------------------------------------------------------------- commits and times


def test_an_old_commit_under_a_new_key_is_noticed(small: SmallVault) -> None:
    """A replay: it says whose it is and its number."""
    ((key, data),) = objects(small, COMMITS).items()
    session, _ = commit_place(key)
    for other in (commit_key(session, 7), commit_key(bytes(16), 0)):
        small.store.put(other, [data])
    small.follow()
    assert set(small.catalog.damaged()) == {commit_key(session, 7), commit_key(bytes(16), 0)}
    assert len(small.catalog.points()) == 1


def test_a_commit_is_never_replaced(small: SmallVault, tmp_path: Path) -> None:
    """Put is if absent, on a disk as well: nobody overwrites what is there through the store."""
    on_disk = SmallVault(DiskStore(tmp_path))
    on_disk.protect({b"a": b"b"})
    for store in (small.store, on_disk.store):
        for each in list(store.list(COMMITS)):
            with pytest.raises(KnowngoodError):
                store.put(each.key, [b"another"])


def test_a_receive_time_cannot_be_changed_in_a_commit(small: SmallVault) -> None:
    """It is authenticated with the hidden part: with the checksum made right, the point has no name any more."""
    ((key, data),) = objects(small, COMMITS).items()
    commit = decode_commit(data, *commit_place(key)).commit
    body = unwrap_plain(data)
    plain = msgspec.msgpack.encode(commit)
    later = msgspec.msgpack.encode(msgspec.structs.replace(commit, received_ns=commit.received_ns + 10**9))
    assert plain in body
    assert len(plain) == len(later)
    forged = decode_commit(wrap_plain(body.replace(plain, later)), *commit_place(key))
    with pytest.raises(Damaged):
        forged.open(small.private, small.vault.id)


def test_a_commit_without_what_it_needs_stops_collection_and_shows_in_a_check(small: SmallVault) -> None:
    """A writer can state a point that is not there. Nothing is deleted on its word, and a check names it."""
    with small.vault.session("forge") as session:
        records = (PlainPoint(os.urandom(16), os.urandom(16), small.catalog.points()[0].marks[:0]),)
        session.commit(records, None, now_ns())
    before = objects(small, PACKS)
    small.collect()
    assert objects(small, PACKS) == before
    (known,) = small.catalog.points()
    assert small.recover(known)[b"secret.txt"] == SECRET


def test_an_ended_session_commits_nothing_whoever_goes_on_with_it(small: SmallVault) -> None:
    """Not under its next number, and a commit under a later one is of a session that has a fence before it."""
    with small.vault.session("taken over") as session:
        (card,) = list_sessions(small.store)
        fence(small.store, card, small.vault.writer.public, small.vault.id, now_ns())
        with pytest.raises(Fenced):
            session.commit((), None, now_ns())


# ------------------------------------------------------------------------------------------- the rest of the disk


def test_a_key_file_that_somebody_adds_does_not_make_writers_seal_to_it(small: SmallVault) -> None:
    """Writers seal to the public key in their home, and to nothing that the vault says."""
    theirs, _ = create_vault(MemoryStore(), None)
    stranger = MemoryStore()
    create_vault(stranger, b"theirs")
    for key, data in stranger.objects.items():
        if key.startswith(KEYS):
            small.store.put(key, [data])
    small.protect({b"after": b"after" * 500})
    for data in objects(small, PACKS).values():
        names = read_frame(data[32 : 32 + 64 + 32 + 1168]).names
        assert names == small.vault.writer.public.fingerprint != theirs.writer.public.fingerprint


def test_an_index_that_lies_makes_nothing_readable_that_is_not_right(small: SmallVault) -> None:
    """Rows that lead elsewhere: what is read proves itself or is refused. A rebuild goes by the packs alone."""
    with small.vault.session("look") as session:
        rows = sorted(row for run in session.index.runs for byte in range(256) for row in run.rows(byte))
        packs = session.index.packs()
    for key in objects(small, INDEX):
        small.store.delete(key)
    with small.vault.session("forge") as session:
        session.publish(packs, sorted(row[:16] + other[16:] for row, other in zip(rows, rows[1:] + rows, strict=False)))
    (point,) = small.catalog.points()
    with pytest.raises(KnowngoodError):
        small.recover(point)
    rebuild_index(small.vault, Progress())
    assert small.recover(point)[b"secret.txt"] == SECRET


def test_what_a_writer_lands_without_a_commit_is_seen_by_nobody(small: SmallVault) -> None:
    """And goes with the next collection when its session has ended."""
    with small.vault.session("abandoned") as session, small.vault.ingest(session, Progress()) as sink:
        sink.add(b"z" * 3000)
        sink.flush()
    small.collect_all()
    (point,) = small.catalog.points()
    assert small.recover(point)[b"secret.txt"] == SECRET
    assert len(objects(small, PACKS)) == 1


def test_a_commit_is_of_this_vault_only(small: SmallVault) -> None:
    """Keys are sealed for one vault: a commit that is carried into another one, under its own key, opens nothing."""
    other = SmallVault(MemoryStore())
    ((key, data),) = objects(small, COMMITS).items()
    other.store.put(key, [data])
    other.follow()
    assert other.catalog.points() == []
    with pytest.raises(KnowngoodError):
        decode_commit(data, *commit_place(key)).open(other.private, other.vault.id)
