"""A key file written anew, when a vault has lost all that it had: what it takes, where that is found, how it is proven.

A key file holds four things. The public half follows from the private one; the lock comes from a new passphrase. The
naming secret is also in every home that writes to the vault, and in the hidden part of every commit that holds a point.
The recovery keys that this one replaced are nowhere else: without them, what was sealed to them stays shut.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from knowngood.core.errors import Damaged, Exists, KnowngoodError, Locked
from knowngood.core.ids import Name
from knowngood.core.ports import Store
from knowngood.seal.frame import FrameKind, read_frame
from knowngood.seal.keys import PassphraseLock, PrivateKey
from knowngood.seal.names import Namer
from knowngood.vault.descriptor import (
    KeyFile,
    naming_purpose,
    previous_purpose,
    read_descriptor,
    read_key_files,
    write_key_file,
)
from knowngood.vault.layout import COMMITS, PACK_FOLDERS, PAGES, SEGMENTS
from knowngood.vault.pack import open_content_key, read_keys, salvage_pack
from knowngood.vault.record import decode_commit
from knowngood.vault.vault import WriterKey

_ASK = "use the kit of this vault's newest key; an older one goes with --replaced-key-file FILE"
_RESCUE = (
    "run this in a home that writes to the vault; or read it with: python rescue.py VAULT --recovery-key-file FILE"
)


@dataclass(frozen=True, slots=True, repr=False)
class KeyRestore:
    """What is to be written, and what stays shut all the same."""

    private: PrivateKey
    naming: bytes
    naming_from: str  # "home" or "commits"
    shut: dict[bytes, int]  # fingerprint of a key that is not at hand → how many packs only it opens


def plan_restore(store: Store, private: PrivateKey, writer: WriterKey | None) -> KeyRestore:
    """Find and prove what a key file takes. `private.previous` are the replaced keys that are at hand; `writer` is the
    key of a home of this vault, None when there is none.

    A naming secret out of commits counts only when all of them name the same: whoever has the public key can make a
    commit. It is proven with a page, or with a frame of a log. Raises Exists when the vault has a readable key file of
    this key, and no replaced key is to be added; Locked when nothing in the vault was sealed to it, or the naming
    secret is lost; Damaged when that does not fit.
    """
    vault_id = read_descriptor(store).vault_id
    for key in read_key_files(store):
        if key.public == private.public:
            _add_known(private, key, vault_id)
    sealed_to = _sealed_to(store)
    at_hand = {each.public.fingerprint for each in (private, *private.previous)}
    told = _told_by_commits(store, private, vault_id)
    known_here = writer is not None and writer.public == private.public
    if not (known_here or told or private.public.fingerprint in sealed_to):
        raise Locked("nothing in this vault was sealed to this recovery key", hint=_ASK)
    naming = writer.naming if writer else _agreed(told)
    _prove(store, private, vault_id, naming)
    shut = {fingerprint: count for fingerprint, count in sealed_to.items() if fingerprint not in at_hand}
    return KeyRestore(private, naming, "home" if writer else "commits", shut)


def restore_key_file(store: Store, plan: KeyRestore, passphrase: bytes | None) -> None:
    """Write both copies of the key file; damaged ones of the same key go. None: the private half is kept off-line."""
    vault_id = read_descriptor(store).vault_id
    public = plan.private.public
    lock = PassphraseLock.close(plan.private.recovery_key, passphrase) if passphrase is not None else None
    replaced = (public.seal(each.recovery_key, previous_purpose(vault_id)) for each in plan.private.previous)
    sealed = public.seal(plan.naming, naming_purpose(vault_id))
    write_key_file(store, KeyFile(public, sealed, lock, tuple(replaced)), replace=True)


def _add_known(private: PrivateKey, key: KeyFile, vault_id: bytes) -> None:
    """Take over the replaced keys that a key file knows, before those that are at hand."""
    if not private.previous:
        raise Exists(
            "the vault has a key file of this key that can be read",
            hint="for another passphrase: knowngood vault keys passphrase; damaged copies: knowngood vault rebuild",
        )
    known = [private.open(each, previous_purpose(vault_id)) for each in key.previous]
    added = [each.recovery_key for each in private.previous if each.recovery_key not in known]
    private.previous = tuple(map(PrivateKey, [*known, *added]))


def _sealed_to(store: Store) -> dict[bytes, int]:
    """Fingerprint → how many packs have a content key that was sealed to it. Reads the head of every pack."""
    found: dict[bytes, int] = {}
    for folder in PACK_FOLDERS.values():
        for each in list(store.list(folder)):
            with suppress(KnowngoodError):  # unreadable, whatever key is at hand
                keys = read_keys(lambda offset, length, key=each.key: store.get(key, offset, length))
                for fingerprint in {read_frame(frame).names for frame in keys.values()}:
                    found[fingerprint] = found.get(fingerprint, 0) + 1
    return found


def _told_by_commits(store: Store, private: PrivateKey, vault_id: bytes) -> set[bytes]:
    """The naming secrets in the commits that open; empty bytes stand for commits that name none."""
    told: set[bytes] = set()
    for each in list(store.list(COMMITS)):
        with suppress(KnowngoodError):
            sealed = decode_commit(store.get(each.key))
            if sealed.has_hidden:
                told.add(sealed.open(private, vault_id).naming)
    return told


def _agreed(told: set[bytes]) -> bytes:
    named = told - {b""}
    if not named:
        raise Locked("the vault's naming secret is lost: it was in the key files, and no home is at hand", hint=_RESCUE)
    if len(named) > 1:
        raise Damaged("commits of this vault disagree about its naming secret: somebody has forged some", hint=_RESCUE)
    return named.pop()


def _prove(store: Store, private: PrivateKey, vault_id: bytes, naming: bytes) -> None:
    """Compute the name of a page, or of a log's frame. A vault of which none can be opened has nothing that a wrong
    secret could harm."""
    namer = Namer.from_secret(naming)
    names = {FrameKind.PAGE: namer.page, FrameKind.LOG: namer.log}
    for kind, name, refs, body in _named(store, private, vault_id):
        if names[kind](refs, body) != name:
            raise Damaged("the naming secret does not fit the pages of this vault", hint=_RESCUE)
        return


def _named(store: Store, private: PrivateKey, vault_id: bytes) -> Iterator[tuple[FrameKind, Name, bytes, bytes]]:
    """Kind, name, references and body of the pages and the frames of logs that open, pack by pack."""
    for each in (each for folder in (PAGES, SEGMENTS) for each in list(store.list(folder))):
        with suppress(KnowngoodError):
            data = store.get(each.key)
            keys = read_keys(lambda offset, length, data=data: data[offset : offset + length])
            for walked in salvage_pack(data):
                frame, kind = read_frame(memoryview(data)[walked.offset :]), walked.header.kind
                if kind in (FrameKind.PAGE, FrameKind.LOG) and walked.header.key_id in keys:
                    key = open_content_key(read_frame(keys[walked.header.key_id]), private, vault_id)
                    yield FrameKind(kind), Name(walked.names), walked.refs, bytes(frame.open(key))
