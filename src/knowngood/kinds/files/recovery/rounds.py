"""The execution of a recovery, in rounds of some thousand changes.

Workers compare and write, then what was written takes its place, then hard links are tied, then folders get their
attributes and are closed. So memory and open files stay bounded, and a run that ends early leaves every single file
as it was or as it should be.
"""

from __future__ import annotations

import os
from collections.abc import Set
from functools import partial

from knowngood.core.errors import Damaged, KnowngoodError
from knowngood.core.sizes import MIB
from knowngood.kinds.files.recovery import apply
from knowngood.kinds.files.recovery.big import BigFiles, is_big
from knowngood.kinds.files.recovery.crew import Crew
from knowngood.kinds.files.recovery.extras import Extras
from knowngood.kinds.files.recovery.flush import Flusher
from knowngood.kinds.files.recovery.helpers import Helpers, Item
from knowngood.kinds.files.recovery.links import LinkTable, Tier
from knowngood.kinds.files.recovery.others import put_other
from knowngood.kinds.files.recovery.place import Folder, lstat, open_folder
from knowngood.kinds.files.recovery.selection import Selection
from knowngood.kinds.files.recovery.shared import Site, said
from knowngood.kinds.files.recovery.stage import Stage
from knowngood.kinds.files.recovery.target import unmark
from knowngood.kinds.files.recovery.walk import Walk
from knowngood.kinds.files.recovery.write import put_file
from knowngood.kinds.files.spill import NameSet
from knowngood.kinds.files.syscalls import sync_file_system
from knowngood.tree.block import ROOT_NAME, Entry
from knowngood.tree.page import Child

_WORKERS = 3
_AHEAD = 48
_BATCH_FILES = 128
_BATCH_BYTES = 4 * MIB
_WAITING_LINKS = 4096
_WAITING_FOLDERS = 256


class Run:
    """One execution: what the walk through the tree does in the target."""

    def __init__(self, site: Site, root: Folder, extras: Extras) -> None:
        self._site = site
        self._root = root
        self._extras = extras
        self._stage = Stage(site, extras)
        self._links = LinkTable()
        self._tier = Tier(site, self._stage, root)
        self._open: set[Folder] = {root}
        self._left: list[Folder] = []
        self._ties: list[tuple[Folder, Entry, bytes]] = []
        self._batch: list[Item] = []
        self._batch_bytes = 0
        self._owed: dict[int, int] = {}  # file systems to be synced at the end → a descriptor on each
        self._crew = Crew(_WORKERS, _AHEAD)
        self._big = BigFiles(site, self._stage, self._crew)
        self._helpers = Helpers(_WORKERS, root) if site.direct and site.many else None
        if site.direct and not site.few:
            site.flusher = Flusher(root.fd)

    def run(self, selection: Selection) -> None:
        """All of it. However it ends, nothing half-made is left under any name but the marked target's own."""
        walk = Walk(self, self._root)

        def on_damage(leaf: Child, wrong: KnowngoodError) -> None:
            walk.lenient = True
            self._site.complete = False
            where = leaf.directory.replace(b"\0", b"/") or ROOT_NAME
            self._site.notes.add(where, f"{leaf.entries} entries from here on are lost: {wrong.message}")

        try:
            walk.run(selection.groups(on_damage))
            self.settle()
            self._finish()
        except Damaged:
            self.settle()  # what came before stays whole
            raise
        finally:
            self._clean_up()

    # ------------------------------------------------------------------------------------ what the walk asks for

    def enter(self, above: Folder, folder: Folder) -> None:
        """Open or make a folder; it is lost when that cannot be."""
        name = folder.key.rpartition(b"\0")[2]
        try:
            self._enter(above, folder, name)
        except OSError as wrong:
            self._site.check(wrong)
            folder.lost = True
            self._site.notes.add(folder.path, f"the folder could not be made: {said(wrong)}")
            return
        self._open.add(folder)

    def work(self, folder: Folder, entries: list[Entry]) -> None:
        """Files and other things that belong into a folder."""
        self._site.progress.current = os.fsdecode(folder.path)
        names = folder.names
        for entry in entries:
            if names is not None:
                names.add(entry.name)
            if not entry.is_directory:
                self._put(folder, entry)

    def listed(self, folder: Folder) -> None:
        """Now it is known what is extra in a folder."""
        if folder.names is None:
            return
        try:
            self._extras.sweep(folder, lambda _, count: self._deleted(folder, count))
        except OSError as wrong:
            self._site.check(wrong)
            self._site.notes.add(folder.path, f"could not be listed: {said(wrong)}")
        folder.names.close()
        folder.names = None

    def leave(self, folder: Folder) -> None:
        """Nothing more comes for a folder."""
        if folder is not self._root:
            self._left.append(folder)
            if len(self._left) >= _WAITING_FOLDERS:
                self._relieve()

    def settle(self) -> None:
        """End a round."""
        self._submit()
        self._crew.drain()
        self._stage.commit()
        self._tie()
        self._stage.lock()
        self._tier.forget()
        self._close_all(frozenset())

    # ------------------------------------------------------------------------------------------------ how it is done

    def _enter(self, above: Folder, folder: Folder, name: bytes) -> None:
        fd = None if above.fresh else open_folder(above, name)
        if fd is None:
            if lstat(above, name) is not None:
                self._unlink(above, name)
            os.mkdir(name, 0o700, dir_fd=above.fd)
            above.touched = folder.touched = folder.fresh = True
            fd = open_folder(above, name)
            if fd is None:
                raise FileNotFoundError(2, "it was taken away at once")
        folder.fd = fd
        have = os.fstat(fd)
        folder.identify(have)
        if folder.fresh:
            if above.inherits:
                apply.make_plain(fd)
            return
        folder.names = NameSet()
        apply.prepare(folder)

    def _unlink(self, above: Folder, name: bytes) -> None:
        """Something that is no folder, a symlink perhaps, stands where a folder belongs."""
        try:
            os.unlink(name, dir_fd=above.fd)
        except PermissionError:
            if not apply.unlock_named(above.fd, name):
                raise
            os.unlink(name, dir_fd=above.fd)

    def _put(self, folder: Folder, entry: Entry) -> None:
        replace = False
        if entry.links > 1:
            first = self._links.first(entry)
            if first is not None:
                self._ties.append((folder, entry, first))
                if len(self._ties) >= _WAITING_LINKS:
                    self.settle()
                return
            replace = not self._may_stay(folder, entry)
        self._begin(folder, entry, replace)

    def _begin(self, folder: Folder, entry: Entry, replace: bool) -> None:
        if is_big(entry) and entry.is_file:
            self._big.put(folder, entry, replace)
        else:
            self._batch.append((folder, entry, replace))
            self._batch_bytes += entry.size
            if len(self._batch) >= _BATCH_FILES or self._batch_bytes >= _BATCH_BYTES:
                self._submit()
        if self._stage.is_full:
            self.settle()

    def _relieve(self) -> None:
        """Close the folders in which nothing waits for the end of the round; end it if many are left."""
        self._submit()
        self._crew.drain()
        self._close_all(self._stage.folders() | {folder for folder, _, _ in self._ties})
        if len(self._left) > _WAITING_FOLDERS // 2:
            self.settle()

    def _close_all(self, but: Set[Folder]) -> None:
        left, self._left = self._left, []
        for folder in left:
            if folder in but:
                self._left.append(folder)
            else:
                self._close(folder)

    def _may_stay(self, folder: Folder, entry: Entry) -> bool:
        try:
            have = lstat(folder, entry.name)
        except OSError:
            return True  # it is looked at again, and reported, when its turn comes
        return have is None or self._links.claim(entry, have)

    def _submit(self) -> None:
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._crew.submit(partial(self._do, batch))

    def _do(self, batch: list[Item]) -> None:
        """In a worker: bring some entries to their state in the checkpoint."""
        site, stage = self._site, self._stage
        files = size = written = 0
        if self._helpers is not None and self._crew.failure is None:
            done, batch = self._helpers.write(batch, site.pages)
            files, size = len(done), sum(entry.size for _, entry, _ in done)
            written = size
        for folder, entry, replace in batch:
            if self._crew.failure is not None:
                break
            try:
                if entry.is_file:
                    written += put_file(site, stage, folder, entry, replace)
                    size += entry.size
                else:
                    put_other(site, stage, folder, entry, replace)
                files += 1
            except (OSError, KnowngoodError) as wrong:
                site.failed(entry, wrong)
        site.count(files, size, written)

    def _tie(self) -> None:
        """Tie the names that have come to their first ones. What cannot be tied becomes a file of its own."""
        while self._ties:
            ties, self._ties = self._ties, []
            alone: dict[bytes, Item] = {}
            for folder, entry, first in ties:
                try:
                    if self._tier.tie(folder, entry, first):
                        self._site.count(1, 0, 0)
                    elif first in alone:
                        self._ties.append((folder, entry, alone[first][1].key))
                    else:
                        self._links.move(entry)
                        alone[first] = (folder, entry, True)
                except OSError as wrong:
                    self._site.failed(entry, wrong)
            for item in alone.values():
                self._begin_alone(item)
            self._submit()
            self._crew.drain()
            self._stage.commit()

    def _begin_alone(self, item: Item) -> None:
        folder, entry, replace = item
        if is_big(entry) and entry.is_file:
            self._big.put(folder, entry, replace)
        else:
            self._batch.append(item)

    def _deleted(self, folder: Folder, count: int) -> None:
        folder.touched = True
        self._site.done.deleted += count

    def _close(self, folder: Folder) -> None:
        """Give a folder its attributes, and let go of it."""
        try:
            apply.settle_folder(folder, self._site)
            self._make_durable(folder)
        except OSError as wrong:
            self._site.check(wrong)
            self._site.notes.add(folder.path, f"attributes could not be set: {said(wrong)}")
        self._open.discard(folder)
        folder.close()

    def _make_durable(self, folder: Folder) -> None:
        if not folder.touched:
            return
        if self._site.few:
            os.fsync(folder.fd)
        elif folder.device not in self._owed:
            self._owed[folder.device] = os.dup(folder.fd)

    def _finish(self) -> None:
        """The target itself comes last; its mark is taken away once all below is on stable storage."""
        root = self._root
        if self._site.direct:
            self._make_durable(root)
            self._sync()
            unmark(root, self._site)
            apply.settle_folder(root, self._site)
            os.fsync(root.fd)
            return
        apply.settle_folder(root, self._site)
        self._make_durable(root)
        self._sync()

    def _sync(self) -> None:
        if self._site.flusher is not None:
            self._site.flusher.close()
            self._site.flusher = None
        for fd in self._owed.values():
            sync_file_system(fd)

    def _clean_up(self) -> None:
        self._crew.close()
        if self._helpers is not None:
            self._helpers.close()
        if self._site.flusher is not None:
            self._site.flusher.close()
        self._big.abandon()
        for (_, name), fd in self._site.live.items():
            try:
                os.unlink(name, dir_fd=fd)
            except OSError:
                continue
        self._tier.forget()
        self._links.close()
        for folder in self._open:
            apply.lock_again(folder)
            folder.close()
        for fd in self._owed.values():
            os.close(fd)
