"""Takes one new or changed entry of an open directory: its attributes, and its content into the sink."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from typing import Protocol

from knowngood.core.ports import ChunkSink
from knowngood.core.progress import Progress
from knowngood.kinds.files.attributes import Xattrs, flags_of, proc_path, xattrs_of
from knowngood.kinds.files.capture import content as contents
from knowngood.kinds.files.capture.basis import Partial
from knowngood.kinds.files.capture.content import DataStream
from knowngood.kinds.files.capture.resume import Interrupted
from knowngood.kinds.files.capture.twins import Taken, Twins
from knowngood.kinds.files.capture.witness import Held, Witness
from knowngood.kinds.files.handles import DIRECTORY_FLAGS, open_quietly
from knowngood.kinds.files.limits import Limits
from knowngood.kinds.files.problems import CHANGED, Problems, path_of
from knowngood.tree.block import NO_EXTRA, ROW, Content, Extra
from knowngood.tree.content import INLINE_BYTES, ChunkList, Extents, pack_extents

TRIES = 3
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_NONE, _CHUNK, _INLINE = int(Content.NONE), int(Content.CHUNK), int(Content.INLINE)
_SMALLEST_HOLE = 4096  # bytes: holes are whole blocks
_SIZE = 4  # its place in a row
_SWAPPED = frozenset({errno.ELOOP, errno.ENXIO, errno.ENOTDIR, errno.ENODEV})

Columns = tuple[int, bytes, bytes, tuple[int, ...], bytes, int]
"""Content, references, inline content, lengths, packed extents, and the size that was read."""


class _Swapped(Exception):
    """Another kind of thing has taken the name since it was listed."""


def row_of(file: os.stat_result, *, size: int | None = None, steady: bool = True) -> bytes:
    """A row; `size` replaces the file's own. The row of an unsteady file never equals a later one."""
    is_directory = stat.S_ISDIR(file.st_mode)  # its size and links are the file system's business
    length = (0 if is_directory else file.st_size) if size is None else size
    head = (file.st_mode, file.st_uid, file.st_gid, 0 if is_directory else file.st_nlink, length)
    changed = file.st_ctime_ns if steady else 0
    try:
        return ROW.pack(*head, file.st_mtime_ns, changed, file.st_ino)
    except struct.error:
        return ROW.pack(*head, _clamped(file.st_mtime_ns), _clamped(changed), file.st_ino)


def _clamped(nanoseconds: int) -> int:
    """A time that fits into 64 bits: the years 1677 to 2262. Some file systems go farther."""
    return max(-(1 << 63), min(nanoseconds, (1 << 63) - 1))


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether a file was not touched between two looks."""
    return after.st_ctime_ns == before.st_ctime_ns and after.st_size == before.st_size


def _extra(lengths: tuple[int, ...], extents: bytes, xattrs: Xattrs, flags: int) -> Extra:
    return Extra(lengths, extents, xattrs, flags) if lengths or extents or xattrs or flags else NO_EXTRA


class Noting(Protocol):
    """What notes how far a capture came."""

    @property
    def due(self) -> bool:
        """Whether it is time to."""
        ...

    def note(self, partial: Partial | None = None) -> None:
        """Note it, and the file in the middle of being read."""
        ...

    def landed(self, count: int) -> None:
        """So many bytes of content went to the sink."""
        ...


class Taker:
    """Takes entries. `directory` is the key of the directory they are in."""

    def __init__(
        self,
        sink: ChunkSink,
        tree: Noting,
        interrupted: Interrupted,
        problems: Problems,
        progress: Progress,
        limits: Limits,
        clock: Callable[[], int],
        witness: Witness | None = None,
    ) -> None:
        self.directory = b""
        self.read_bytes = 0
        self._sink = sink
        self._tree = tree
        self._interrupted = interrupted
        self._problems = problems
        self._progress = progress
        self._limits = limits
        self._clock = clock
        self._twins = Twins(limits.link_bytes)
        self._witness = witness

    def take(self, above: int, name: bytes, mode: int) -> Taken | None:
        """Take the entry of this name, which was of this mode when listed; None, and a problem, when that fails."""
        try:
            for _ in range(TRIES):
                try:
                    if stat.S_ISREG(mode):
                        return self._file(above, name)
                    if stat.S_ISDIR(mode):
                        return self._directory(above, name)
                    return self._special(above, name, mode)
                except _Swapped:
                    pass
                except OSError as wrong:
                    if wrong.errno not in _SWAPPED:
                        raise
                mode = os.stat(name, dir_fd=above, follow_symlinks=False).st_mode
            self._problems.add(path_of(self.directory, name), "kept becoming another kind of thing")
        except OSError as wrong:
            self._problems.failed(path_of(self.directory, name), wrong)
        return None

    # ----------------------------------------------------------------------------------------------- regular files

    def _file(self, above: int, name: bytes) -> Taken:
        taken, steady = self._read(above, name)
        for _ in range(TRIES - 1):
            if steady or ROW.unpack(taken[0])[_SIZE] > self._limits.retry_bytes:
                break
            taken, steady = self._read(above, name)
        if not steady:
            self._problems.add(path_of(self.directory, name), CHANGED)
        return taken

    def _read(self, above: int, name: bytes) -> tuple[Taken, bool]:
        """Read a file once, and say whether it stayed the same meanwhile.

        If not, it is kept as far as it was read, under a row that makes the next capture read it again.
        """
        fd = self._open(above, name)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise _Swapped
            row = row_of(before)
            if before.st_nlink > 1 and (twin := self._twins.find(before, row)):
                return twin, True
            if self._witness and (held := self._witness.hold(above, fd, before)):
                return self._read_held(fd, name, held), True
            content, refs, inline, lengths, extents, size = self.content(fd, name, before.st_size, row)
            xattrs, flags, whole = self._attributes(name, fd)
            after = os.fstat(fd)
        finally:
            os.close(fd)
        extra = _extra(lengths, extents, xattrs, flags)
        steady = _same(before, after) and size == before.st_size
        if not (steady and whole):
            return (row_of(before, size=size, steady=False), content, refs, inline, extra), steady
        taken = (row, content, refs, inline, extra)
        if before.st_nlink > 1:
            self._twins.note(before, taken)
        return taken, True

    def _read_held(self, fd: int, name: bytes, held: Held) -> Taken:
        """Read a file as it was at one instant, however it goes on meanwhile: only its row may not be sure."""
        xattrs, flags, whole = self._attributes(name, fd)
        steady = whole and held.steady and _same(held.file, os.fstat(fd))
        row = row_of(held.file)
        content, refs, inline, lengths, extents, size = self.content(held.fd, name, held.size, row)
        held.row = row if steady and size == held.size else row_of(held.file, size=size, steady=False)
        taken = (held.row, content, refs, inline, _extra(lengths, extents, xattrs, flags))
        if held.file.st_nlink > 1 and held.row == row:
            self._twins.note(held.file, taken)
        return taken

    @staticmethod
    def _open(above: int, name: bytes) -> int:
        """Open without ever waiting for the other end of a pipe or device that was swapped in."""
        try:
            return open_quietly(name, _FILE_FLAGS, above)
        except BlockingIOError:
            # Somebody holds a lease, as Samba does for its clients: give it the time to let go.
            held = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=above)
            try:
                if not stat.S_ISREG(os.fstat(held).st_mode):
                    raise _Swapped from None
                return open_quietly(proc_path(held), os.O_RDONLY)
            finally:
                os.close(held)

    def content(self, fd: int, name: bytes, size: int, row: bytes) -> Columns:
        """Read the content of an open regular file."""
        if size <= INLINE_BYTES:
            data = contents.read_plain(fd, size) if size else b""
            self.count(len(data))
            return (_INLINE if data else _NONE), b"", data, (), b"", len(data)
        if size > _SMALLEST_HOLE:  # asked even when all blocks seem to be there: XFS counts room that it set aside
            extents = contents.data_extents(fd, size, self._limits.extents)
            if extents:
                return self._sparse(fd, name, size, row, extents)
        if size <= contents.SINGLE_BYTES:
            data = contents.read_plain(fd, size)
            self.count(len(data))
            if not data:
                return _NONE, b"", b"", (), b"", 0
            return _CHUNK, self._sink.add(data), b"", (), b"", len(data)
        chunks = self._chunks(fd, name, row, [(0, size)])
        content, refs, lengths = chunks.finish()
        return content, refs, b"", lengths, b"", chunks.total

    def _sparse(self, fd: int, name: bytes, size: int, row: bytes, extents: Extents) -> Columns:
        """A file with holes: its content is the data alone, and never inline."""
        expected = sum(length for _, length in extents)
        chunks = self._chunks(fd, name, row, extents)
        if chunks.total < expected:  # it was cut off
            extents = contents.clipped(extents, chunks.total)
            size = sum(extents[-1])
        content, refs, lengths = chunks.finish()
        return content, refs, b"", lengths, pack_extents(extents), size

    def _chunks(self, fd: int, name: bytes, row: bytes, extents: Extents) -> ChunkList:
        """Pour the data of these extents into the sink, from where an interrupted capture left off."""
        half = self._interrupted.begin(self.directory, name, row, extents, self._clock())
        chunks = half.chunks
        self._progress.current = path_of(self.directory, name).decode(errors="replace")
        self._progress.bytes += chunks.total
        stream = self.stream(fd, extents, chunks.total, row)
        left = sum(length for _, length in extents) - chunks.total
        if left <= contents.SINGLE_BYTES and not chunks.total:
            data = stream.read(left)
            if data:
                chunks.add(self._sink.add(data), len(data))
            self.count(len(data))
            return chunks
        for view in self._sink.cut(stream.fill):
            chunks.add(self._sink.add(view), len(view))
            self.count(len(view))
            if self._tree.due:
                self._tree.note(half.partial())
        return chunks

    def stream(self, fd: int, extents: Extents, skip: int, row: bytes) -> DataStream:
        """What data that is to be cut is read through."""
        seen = self._witness.stream(fd, extents, row) if self._witness and not skip else None
        return seen or DataStream(fd, extents, skip)

    def count(self, count: int) -> None:
        """So many bytes were read."""
        self.read_bytes += count
        self._progress.bytes += count
        self._tree.landed(count)

    # ---------------------------------------------------------------------------------------------- everything else

    def _directory(self, above: int, name: bytes) -> Taken:
        try:
            fd = open_quietly(name, DIRECTORY_FLAGS, above)
        except PermissionError:
            # Its attributes can still be seen; what is in it cannot, as the walk will tell.
            return self._special(above, name, stat.S_IFDIR)
        try:
            here = os.fstat(fd)
            xattrs, flags, whole = self._attributes(name, fd)
        finally:
            os.close(fd)
        extra = Extra(xattrs=xattrs, flags=flags) if xattrs or flags else NO_EXTRA
        return row_of(here, steady=whole), _NONE, b"", b"", extra

    def _special(self, above: int, name: bytes, mode: int) -> Taken:
        """Symlinks, pipes, sockets and devices: held by O_PATH, which neither follows nor wakes any of them."""
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=above)
        try:
            here = os.fstat(fd)
            if stat.S_IFMT(here.st_mode) != stat.S_IFMT(mode):
                raise _Swapped
            target = os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(mode) else b""
            xattrs, _, whole = self._attributes(name, proc_path(fd))
        finally:
            os.close(fd)
        rdev = here.st_rdev if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else 0
        extra = Extra(xattrs=xattrs, rdev=rdev) if xattrs or rdev else NO_EXTRA
        if target:
            return row_of(here, size=len(target), steady=whole), _INLINE, b"", target, extra
        return row_of(here, steady=whole), _NONE, b"", b"", extra

    def _attributes(self, name: bytes, target: int | str) -> tuple[Xattrs, int, bool]:
        """Extended attributes, flags where `target` is open for reading, and whether that is all of them.

        A file whose attributes cannot be read is still worth having.
        """
        try:
            return xattrs_of(target), flags_of(target) if isinstance(target, int) else 0, True
        except OSError as wrong:
            reason = f"attributes could not be read: {os.strerror(wrong.errno or 0).lower()}"
            self._problems.add(path_of(self.directory, name), reason)
            return (), 0, False
