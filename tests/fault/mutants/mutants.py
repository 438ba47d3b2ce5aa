"""Real functions, broken on purpose: each breaks one invariant (docs/format.md), and something has to notice.

A mutant is applied in this process; those that the crash machine has to notice are carried into its children by fork,
the others are applied in a run of an existing suite (`plugin.py`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from knowngood.core.buffers import Buffer
from knowngood.core.instants import now_ns
from knowngood.seal import frame as frame_module
from knowngood.stores import disk as disk_module
from knowngood.stores.disk import DiskStore
from knowngood.vault import collect as collect_module, session as session_module, spool as spool_module
from knowngood.vault.epoch import Epoch
from knowngood.vault.layout import pack_key
from knowngood.vault.pack import SealedPack
from knowngood.vault.session import Session, SessionCard
from knowngood.vault.vault import Vault

Patches = Callable[[], Sequence[AbstractContextManager[Any]]]


@dataclass(frozen=True)
class Mutant:
    """What it breaks, and who has to notice: a play of the crash machine, or a file of tests."""

    name: str
    breaks: str
    apply: Patches
    noticed_by: str
    seed: int = 0  # of the first play that is tried
    most: int = 40  # states of each life

    def applied(self) -> ExitStack:
        """While this is entered, the mutant lives."""
        stack = ExitStack()
        for each in self.apply():
            stack.enter_context(each)
        return stack


def _other_os(**changed: Any) -> SimpleNamespace:
    """The module `os` with some functions changed, for one module of ours. What the crash machine taps stays tapped."""

    class Other(SimpleNamespace):
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    return Other(**changed)


def _is_folder(handle: int) -> bool:
    return stat.S_ISDIR(os.fstat(handle).st_mode)


def _no_fsync_of_files() -> Patches:
    return lambda: [
        patch.object(disk_module, "os", _other_os(fsync=lambda handle: _is_folder(handle) and os.fsync(handle)))
    ]


def _no_fsync_of_folders() -> Patches:
    return lambda: [patch.object(disk_module, "_sync_folder", lambda _: None)]


def _no_fsync_after_delete() -> Patches:
    def delete(self: DiskStore, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)

    return lambda: [patch.object(DiskStore, "delete", delete)]


def _written_in_place() -> Patches:
    def put_once(self: DiskStore, path: Path, parts: Sequence[Buffer]) -> bool:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for part in parts:
                os.write(handle, part)
            os.fsync(handle)
        finally:
            os.close(handle)
        return True

    return lambda: [patch.object(DiskStore, "_put_once", put_once)]


def _relies_on_what_is_not_settled() -> Patches:
    return lambda: [patch.object(disk_module, "_settle", lambda _: None)]


def _commit_before_data() -> Patches:
    late: list[Callable[[], None]] = []
    land, commit = Session.land, Session.commit

    def land_late(self: Session, pack: SealedPack) -> None:
        late.append(lambda: land(self, pack))

    def commit_early(self: Session, *args: Any) -> Any:
        done = commit(self, *args)
        while late:
            late.pop(0)()
        return done

    return lambda: [patch.object(Session, "land", land_late), patch.object(Session, "commit", commit_early)]


def _commit_before_index() -> Patches:
    late: list[Callable[[], None]] = []
    publish, commit = Session.publish, Session.commit

    def publish_late(self: Session, packs: dict[bytes, int], rows: Any) -> None:
        kept, some = dict(packs), list(rows)
        late.append(lambda: publish(self, kept, some))

    def commit_early(self: Session, *args: Any) -> Any:
        done = commit(self, *args)
        while late:
            late.pop(0)()
        return done

    return lambda: [patch.object(Session, "publish", publish_late), patch.object(Session, "commit", commit_early)]


def _delete_before_invalidate() -> Patches:
    put_epoch = collect_module.put_epoch

    def deleting(store: DiskStore, epoch: Epoch) -> None:
        for pack, kind in epoch.deleted:
            store.delete(pack_key(kind, pack))
        put_epoch(store, epoch)

    return lambda: [patch.object(collect_module, "put_epoch", deleting)]


def _what_hides_goes_first() -> Patches:
    def turned(what: Any, key: Any = None) -> list[Any]:
        return sorted(what, key=key, reverse=key is not None)

    return lambda: [patch.object(collect_module, "sorted", turned, create=True)]


def _torn_tail_is_taken() -> Patches:
    return lambda: [patch.object(spool_module, "_seal", lambda *_: bytes(16))]


def _spool_without_fsync() -> Patches:
    return lambda: [patch.object(spool_module, "os", _other_os(fsync=lambda _: None))]


def _wall_clock_for_order() -> Patches:
    def commit_records(self: Vault, session: Session, catalog: Any, records: Any, hidden: Any = None) -> None:
        commit = session.commit(records, hidden, now_ns())
        catalog.learn(f"commits/{commit.session.hex()}.{commit.number:08d}", commit, hidden or session_module.Hidden())

    return lambda: [patch.object(Vault, "commit_records", commit_records)]


def _sessions_end_by_the_clock() -> Patches:
    def is_dead(card: SessionCard) -> bool:
        return now_ns() - card.since_ns > 0

    return lambda: [patch.object(module, "is_dead", is_dead) for module in (session_module, collect_module)]


def _no_second_look() -> Patches:
    announce = Session._announce

    def once(self: Session, *args: Any) -> Any:
        look = self._look
        seen = look(self.store)
        self._look = lambda store, *, settled=False: seen
        try:
            return announce(self, *args)
        finally:
            self._look = look

    return lambda: [patch.object(Session, "_announce", once)]


def _living_sessions_are_not_waited_for() -> Patches:
    return lambda: [patch.object(collect_module._Collection, "_living_sessions", lambda _: [])]


def _checksums_are_not_compared() -> Patches:
    return lambda: [patch.dict(frame_module.read_frame.__kwdefaults__, checked=False)]


def _put_replaces() -> Patches:
    return lambda: [patch.object(disk_module, "os", _other_os(link=os.replace))]


BY_MACHINE = [
    Mutant("no-fsync-of-files", "INV-2: a pack is durable before its commit", _no_fsync_of_files(), "points"),
    Mutant("no-fsync-of-folders", "INV-2: so is its name", _no_fsync_of_folders(), "points"),
    Mutant(
        "no-fsync-after-delete",
        "INV-10: points go before what hides them",
        _no_fsync_after_delete(),
        "purged",
        most=400,
    ),
    Mutant("written-in-place", "INV-1: an object is there whole or not at all", _written_in_place(), "points"),
    Mutant(
        "not-settled",
        "INV-7: what is relied on stays",
        _relies_on_what_is_not_settled(),
        "relay",
        1018,
    ),
    Mutant("commit-before-data", "INV-2: data, then index, then commit", _commit_before_data(), "points"),
    Mutant("commit-before-index", "INV-2: a run in force places it", _commit_before_index(), "points"),
    Mutant("delete-before-invalidate", "INV-8: invalidate, then delete", _delete_before_invalidate(), "points"),
    Mutant("what-hides-goes-first", "INV-10: purged stays purged", _what_hides_goes_first(), "purged", most=400),
    Mutant("torn-tail-is-taken", "a tick counts once it is whole", _torn_tail_is_taken(), "spooled", most=400),
    Mutant("spool-without-fsync", "an acknowledged tick is durable", _spool_without_fsync(), "spooled"),
]
BY_TESTS = [
    Mutant("wall-clock-for-order", "no clock decides the order", _wall_clock_for_order(), "unit/vault/test_expiry.py"),
    Mutant(
        "sessions-end-by-the-clock",
        "no clock ends a session",
        _sessions_end_by_the_clock(),
        "unit/vault/test_session.py",
    ),
    Mutant("no-second-look", "INV-4: announced, then looked again", _no_second_look(), "unit/vault/test_session.py"),
    Mutant("not-waited-for", "INV-5: seen", _living_sessions_are_not_waited_for(), "unit/vault/test_session.py"),
    Mutant("checksums-not-compared", "every byte is checked", _checksums_are_not_compared(), "unit/seal/test_frame.py"),
    Mutant("put-replaces", "INV-3: put if absent decides", _put_replaces(), "contract/test_disk_store.py"),
]
