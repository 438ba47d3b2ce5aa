"""Large files: their parts are compared and written by several threads at once.

Where the file system can clone, a changed file begins as a clone of what is there, and only chunks that differ are
written into it: the rest stays shared, and nothing can change between comparing and writing. Elsewhere the existing
file is compared first, and written anew if it differs.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from functools import partial

from knowngood.core.buffers import Buffer
from knowngood.core.errors import KnowngoodError
from knowngood.core.sizes import MIB
from knowngood.kinds.files.attributes import proc_path
from knowngood.kinds.files.recovery import apply
from knowngood.kinds.files.recovery.compare import READ_EXISTING, holds, holes_are_zero, open_holes, unchanged
from knowngood.kinds.files.recovery.crew import Crew
from knowngood.kinds.files.recovery.layout import Piece, fetch, pieces
from knowngood.kinds.files.recovery.place import Folder, lstat
from knowngood.kinds.files.recovery.shared import Site
from knowngood.kinds.files.recovery.stage import Stage
from knowngood.kinds.files.recovery.write import kept, write_at
from knowngood.kinds.files.syscalls import clone
from knowngood.linux.direct import DirectRuns, open_direct
from knowngood.tree.block import Content, Entry
from knowngood.tree.read import TreeReader

FROM = 4 * MIB
DIRECT_FROM = 8 * MIB
_PART = 4 * MIB
_PRIVATE = 0o600
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def is_big(entry: Entry) -> bool:
    """Whether a regular file is worth several threads."""
    return entry.size > FROM or entry.content == Content.LIST


def _parts(entry: Entry, reader: TreeReader) -> Iterator[list[Piece]]:
    gathered: list[Piece] = []
    size = 0
    for piece in pieces(entry, reader):
        gathered.append(piece)
        size += piece[1]
        if size >= _PART:
            yield gathered
            gathered, size = [], 0
    if gathered:
        yield gathered


class _Work:
    """Parts of one file under way. `finish` runs after the last of them, in whichever thread that is."""

    def __init__(self, site: Site, entry: Entry, fd: int) -> None:
        self.site = site
        self.entry = entry
        self.fd = fd
        self.wrong: OSError | KnowngoodError | None = None
        self._lock = threading.Lock()
        self._open = 1

    def give(self, crew: Crew) -> None:
        """Queue all parts."""
        try:
            for part in _parts(self.entry, self.site.reader):
                if self.is_settled():
                    break
                with self._lock:
                    self._open += 1
                crew.submit(partial(self._run, part))
        except (OSError, KnowngoodError) as wrong:
            if crew.failure is not None:
                raise
            self.wrong = wrong
        self._release()

    def is_settled(self) -> bool:
        """Whether the parts that are left do not matter any more."""
        return self.wrong is not None

    def part(self, part: list[Piece]) -> None:
        """Do some pieces that follow one another."""
        for piece in part:
            if self.is_settled():
                break
            self.piece(piece)

    def piece(self, piece: Piece) -> None:
        """Do one piece."""

    def finish(self) -> None:
        """All pieces are done, or `wrong` says why not."""

    def _run(self, part: list[Piece]) -> None:
        try:
            self.part(part)
        except (OSError, KnowngoodError) as wrong:
            self.wrong = self.wrong or wrong
        self._release()

    def _release(self) -> None:
        with self._lock:
            self._open -= 1
            last = not self._open
        if last:
            self.finish()


class _Comparison(_Work):
    """Compares an existing file."""

    same = True

    def is_settled(self) -> bool:
        return self.wrong is not None or not self.same

    def piece(self, piece: Piece) -> None:
        data = fetch(piece, self.entry, self.site.pages)
        if not holds(self.fd, data, piece[2]):
            self.same = False


class _Writing(_Work):
    """Writes a new file, or the differing chunks of a clone."""

    def __init__(self, files: BigFiles, folder: Folder, entry: Entry, name: bytes, fd: int) -> None:
        super().__init__(files.site, entry, fd)
        self.files = files
        self.folder = folder
        self.name = name
        self.is_direct = name == entry.name
        self.original: os.stat_result | None = None  # of what this is a clone
        self.written = 0
        self.past_cache: int | None = None

    def part(self, part: list[Piece]) -> None:
        if self.original is not None or self.past_cache is None:
            super().part(part)
            return
        self.files.runs.write(self.fd, self.past_cache, part[0][2][0][0], self._contents(part))

    def _contents(self, part: list[Piece]) -> Iterator[Buffer]:
        for piece in part:
            yield fetch(piece, self.entry, self.site.pages)
            self.written += piece[1]
            self.site.count(0, piece[1], piece[1])

    def piece(self, piece: Piece) -> None:
        data = fetch(piece, self.entry, self.site.pages)
        written = 0
        if self.original is None or not holds(self.fd, data, piece[2]):
            for offset, start, stop in piece[2]:
                write_at(self.fd, data, offset, start, stop)
            written = piece[1]
            self.written += written
        self.site.count(0, piece[1], written)

    def finish(self) -> None:
        self.files.under_way.discard(self)
        try:
            if self.wrong is not None:
                raise self.wrong
            self._complete()
        except (OSError, KnowngoodError) as wrong:
            self.close()
            self.files.stage.discard(self.folder, self.name)
            self.site.failed(self.entry, wrong)

    def _complete(self) -> None:
        if self.original is not None:
            is_same = not self.written and self.original.st_size == self.entry.size
            if is_same and holes_are_zero(self.fd, self.entry) and self._original_kept(self.original):
                return
            open_holes(self.fd, self.entry)
        apply.settle(self.fd, self.entry, os.fstat(self.fd), self.site, fresh=True, inherits=self.folder.inherits)
        if self.site.few:
            os.fsync(self.fd)
        self.close()
        if self.is_direct:
            self.site.live.pop((self.folder.key, self.name), None)
            self.files.stage.direct(self.folder, self.entry)
        else:
            self.files.stage.add(self.folder, self.name, self.entry)
        self.site.count(1, 0, 0)

    def _original_kept(self, original: os.stat_result) -> bool:
        """What is there has the right content: the clone is not needed."""
        if not kept(self.site, self.folder, self.entry, None, original):
            return False
        self.close()
        self.files.stage.discard(self.folder, self.name)
        self.site.count(1, 0, 0)
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self.past_cache is not None:
            past_cache, self.past_cache = self.past_cache, None
            os.close(past_cache)
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


class BigFiles:
    """Brings large files to their state in the checkpoint. Used by one thread; the work is the crew's."""

    def __init__(self, site: Site, stage: Stage, crew: Crew) -> None:
        self.site = site
        self.stage = stage
        self.under_way: set[_Writing] = set()
        self.runs = DirectRuns()
        self._crew = crew

    def put(self, folder: Folder, entry: Entry, replace: bool) -> None:
        """Begin with a file. It is done when the crew has no more jobs. Raises what must end the run."""
        try:
            writing = self._begin(folder, entry, replace)
        except (OSError, KnowngoodError) as wrong:
            if self._crew.failure is not None:
                raise
            self.site.failed(entry, wrong)
            return
        if writing is None:
            self.site.count(1, entry.size, 0)
        else:
            writing.give(self._crew)

    def abandon(self) -> None:
        """Close the files that will not be finished."""
        for writing in list(self.under_way):
            writing.close()

    def _begin(self, folder: Folder, entry: Entry, replace: bool) -> _Writing | None:
        """Find out what has to be written; None when what is there is right."""
        have = lstat(folder, entry.name)
        if have is None or not stat.S_ISREG(have.st_mode) or replace:
            return self._new(folder, entry, have is None and self.site.direct)
        if unchanged(have, entry, self.site.started_ns):
            return None
        try:
            existing = os.open(entry.name, READ_EXISTING, dir_fd=folder.fd)
        except OSError:
            return self._new(folder, entry, direct=False)
        try:
            return self._from(existing, folder, entry)
        finally:
            os.close(existing)

    def _from(self, existing: int, folder: Folder, entry: Entry) -> _Writing | None:
        before = os.fstat(existing)
        writing = self._new(folder, entry, direct=False)
        try:
            if clone(existing, writing.fd):
                writing.original = before
                os.ftruncate(writing.fd, entry.size)
        except OSError as wrong:
            writing.wrong = wrong
            return writing
        if writing.original is None and before.st_size == entry.size and stat.S_ISREG(before.st_mode):
            comparison = _Comparison(self.site, entry, existing)
            comparison.give(self._crew)
            self._crew.drain()
            is_same = comparison.wrong is None and comparison.same and holes_are_zero(existing, entry)
            if is_same and kept(self.site, folder, entry, None, before):
                writing.close()
                self.under_way.discard(writing)
                self.stage.discard(folder, writing.name)
                return None
            writing.wrong = comparison.wrong
        return writing

    def _new(self, folder: Folder, entry: Entry, direct: bool) -> _Writing:
        name = entry.name if direct else self.stage.temporary(folder)
        fd = os.open(name, _NEW, _PRIVATE, dir_fd=folder.fd)
        self.site.live[folder.key, name] = folder.fd
        writing = _Writing(self, folder, entry, name, fd)
        self.under_way.add(writing)
        try:
            if entry.extra.flags or folder.inherits:
                apply.put_flags(fd, entry, self.site, early=True)
            os.ftruncate(fd, entry.size)
            if entry.size >= DIRECT_FROM and not entry.extra.extents:
                writing.past_cache = open_direct(proc_path(fd))
        except OSError as wrong:
            writing.wrong = wrong
        return writing
