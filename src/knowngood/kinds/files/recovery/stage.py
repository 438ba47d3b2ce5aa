"""One round of a recovery: what was made under temporary names, and how all of it takes its place.

Files that already have an older version are never touched while they are written: new content lies beside them, goes
to stable storage, and only then takes the name. One sync serves a whole round.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass

from knowngood.core.errors import KnowngoodError
from knowngood.core.sizes import MIB
from knowngood.kinds.files.recovery import apply
from knowngood.kinds.files.recovery.compare import READ_EXISTING
from knowngood.kinds.files.recovery.extras import Extras
from knowngood.kinds.files.recovery.place import Folder
from knowngood.kinds.files.recovery.shared import Site
from knowngood.kinds.files.syscalls import sync_file_system
from knowngood.tree.block import Entry

STAGED_FILES = 4096
STAGED_BYTES = 256 * MIB


@dataclass(frozen=True, slots=True)
class _Staged:
    folder: Folder
    temporary: bytes
    entry: Entry


class Stage:
    """Things made in the current round. Workers add to it; one thread commits."""

    def __init__(self, site: Site, extras: Extras) -> None:
        self._site = site
        self._extras = extras
        self._staged: list[_Staged] = []
        self._flagged: list[tuple[Folder, Entry]] = []
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether so much waits for its place that it is time to commit."""
        return max(len(self._staged), len(self._flagged)) >= STAGED_FILES or self._bytes >= STAGED_BYTES

    def folders(self) -> set[Folder]:
        """The folders that are still needed."""
        return {each.folder for each in self._staged} | {folder for folder, _ in self._flagged}

    def temporary(self, folder: Folder) -> bytes:
        """A name to make something under. It is removed when the run ends early."""
        name = self._site.temporary()
        self._site.live[folder.key, name] = folder.fd
        return name

    def discard(self, folder: Folder, name: bytes) -> None:
        """Remove what was half made."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder.fd)
        self._site.live.pop((folder.key, name), None)

    def add(self, folder: Folder, temporary: bytes, entry: Entry) -> None:
        """What lies under a temporary name is whole and waits for its place."""
        self._staged.append(_Staged(folder, temporary, entry))
        self._bytes += entry.size

    def direct(self, folder: Folder, entry: Entry) -> None:
        """Something new was made under its own name."""
        folder.touched = True
        if entry.is_file and (entry.extra.flags or folder.inherits):
            self._flagged.append((folder, entry))

    def commit(self) -> None:
        """Put everything that was added in its place. Raises NoSpace and what else must end the run."""
        staged, self._staged, self._bytes = self._staged, [], 0
        if not self._site.direct and not self._site.few:
            for folder in {each.folder.device: each.folder for each in staged}.values():
                sync_file_system(folder.fd)
        for each in staged:
            try:
                self._take_place(each.folder, each.temporary, each.entry.name)
            except (OSError, KnowngoodError) as wrong:
                self.discard(each.folder, each.temporary)
                self._site.count(-1, -each.entry.size if each.entry.is_file else 0, 0)
                self._site.failed(each.entry, wrong)
            else:
                self.direct(each.folder, each.entry)

    def _take_place(self, folder: Folder, temporary: bytes, name: bytes) -> None:
        unlocked = cleared = False
        while True:
            try:
                os.rename(temporary, name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
                break
            except OSError as wrong:
                if not cleared and wrong.errno in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST):
                    self._extras.make_way(folder, name)
                    cleared = True
                elif not unlocked and wrong.errno in (errno.EPERM, errno.EACCES):
                    if not apply.unlock_named(folder.fd, name):
                        raise
                    unlocked = True
                else:
                    raise
        self._site.live.pop((folder.key, temporary), None)

    def lock(self) -> None:
        """Set file flags, now that nothing more happens to the files that have them."""
        flagged, self._flagged = self._flagged, []
        for folder, entry in flagged:
            try:
                fd = os.open(entry.name, READ_EXISTING, dir_fd=folder.fd)
            except OSError as wrong:
                self._site.failed(entry, wrong)
                continue
            try:
                apply.put_flags(fd, entry, self._site)
            finally:
                os.close(fd)
