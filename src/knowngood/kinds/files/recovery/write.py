"""Regular files of moderate size: compared with what is there, and written only where that differs."""

from __future__ import annotations

import os
import stat

from knowngood.core.buffers import Buffer
from knowngood.core.ids import NAME_BYTES, Name
from knowngood.kinds.files.attributes import flags_of, proc_path
from knowngood.kinds.files.recovery import apply
from knowngood.kinds.files.recovery.compare import (
    READ_EXISTING,
    has_filled_holes,
    holds,
    holes_are_zero,
    open_holes,
    same_state,
    unchanged,
)
from knowngood.kinds.files.recovery.layout import Span, fetch, pieces
from knowngood.kinds.files.recovery.place import Folder, lstat
from knowngood.kinds.files.recovery.shared import Site
from knowngood.kinds.files.recovery.stage import Stage
from knowngood.kinds.files.syscalls import LOCKING, set_flags
from knowngood.tree.block import Content, Entry

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_PRIVATE = 0o600

Contents = list[tuple[Buffer, list[Span]]]


def put_file(site: Site, stage: Stage, folder: Folder, entry: Entry, replace: bool) -> int:
    """Bring one file to the state in the checkpoint. Returns the bytes written.

    `replace`: what is there must not be kept, whatever it holds. Raises OSError, Damaged, NotFound: then nothing has
    changed, apart from attributes.
    """
    have = lstat(folder, entry.name)
    if have is None:
        return _write(site, stage, folder, entry, _contents(site, entry), is_new=True)
    if stat.S_ISREG(have.st_mode) and not replace:
        if unchanged(have, entry, site.started_ns):
            return 0
        if have.st_size == entry.size:
            contents = _contents(site, entry)
            if kept(site, folder, entry, contents):
                return 0
            return _write(site, stage, folder, entry, contents, is_new=False)
    return _write(site, stage, folder, entry, _contents(site, entry), is_new=False)


def links_fit(have: os.stat_result, entry: Entry) -> bool:
    """Whether an existing file may stay: one with more names than the checkpoint knows could be anybody's."""
    return have.st_nlink == 1 or entry.links > 1


def _contents(site: Site, entry: Entry) -> Contents:
    if entry.content == Content.INLINE and not entry.extra.extents and len(entry.inline) == entry.size:
        return [(entry.inline, [(0, 0, entry.size)])]
    if entry.content == Content.CHUNK and not entry.extra.extents and len(entry.refs) == NAME_BYTES:
        data = site.pages.chunk(Name(entry.refs))  # most files: one chunk and nothing more to ask
        if len(data) == entry.size:
            return [(data, [(0, 0, entry.size)])]
    return [(fetch(piece, entry, site.pages), piece[2]) for piece in pieces(entry, site.reader)]


def kept(
    site: Site, folder: Folder, entry: Entry, contents: Contents | None, known: os.stat_result | None = None
) -> bool:
    """Whether the existing file has the entry's content; its attributes are set then. Without `contents` it does,
    provided that it is still in the state `known`.

    Not when setting attributes would touch a file that has other names: nobody knows to whom these belong.
    """
    try:
        fd = os.open(entry.name, READ_EXISTING, dir_fd=folder.fd)
    except OSError:
        return False  # gone, or not ours to read: it is replaced
    try:
        have = os.fstat(fd)
        if not stat.S_ISREG(have.st_mode) or have.st_size != entry.size:
            return False
        if not links_fit(have, entry) or (known is not None and not same_state(known, have)):
            return False
        if contents is not None and not _has(fd, contents, entry):
            return False
        flags = flags_of(fd)
        filled = has_filled_holes(fd, entry)
        if not filled and not apply.differs(fd, entry, have, flags):
            return True
        if have.st_nlink > 1 and os.geteuid() == 0:
            return False
        _touch_up(fd, entry, have, site, flags, filled=filled)
        folder.touched = True
        if site.few:
            os.fsync(fd)
        return True
    finally:
        os.close(fd)


def _touch_up(fd: int, entry: Entry, have: os.stat_result, site: Site, flags: int, *, filled: bool) -> None:
    """Set what differs on a file whose content is right."""
    locking = apply.unlock(fd)
    try:
        if filled:
            _give_back(fd, entry)
        apply.settle(fd, entry, have, site, fresh=False)
    except BaseException:
        if locking:
            set_flags(fd, locking, LOCKING)
        raise
    if locking or flags != entry.extra.flags:
        apply.put_flags(fd, entry, site)


def _has(fd: int, contents: Contents, entry: Entry) -> bool:
    return all(holds(fd, data, spans) for data, spans in contents) and holes_are_zero(fd, entry)


def _give_back(fd: int, entry: Entry) -> None:
    """Holes of an existing file that are filled with zeros become holes again: its content does not change by that."""
    try:
        writable = os.open(proc_path(fd), os.O_WRONLY)
    except OSError:
        return  # a program that runs, for instance; it only takes more room than it has to
    try:
        open_holes(writable, entry)
    finally:
        os.close(writable)


def _write(site: Site, stage: Stage, folder: Folder, entry: Entry, contents: Contents, *, is_new: bool) -> int:
    mode = stat.S_IMODE(entry.mode)
    plain = (
        folder.gives == (entry.uid, entry.gid)
        and not mode & (site.umask | 0o7000)
        and not folder.inherits
        and apply.bare(entry)
    )
    direct = is_new and site.direct
    name = entry.name if direct else stage.temporary(folder)
    fd = os.open(name, NEW, mode if plain else _PRIVATE, dir_fd=folder.fd)
    try:
        try:
            if entry.extra.flags or folder.inherits:
                apply.put_flags(fd, entry, site, early=True)
            written = _fill(fd, entry, contents)
            if plain:
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
            else:
                have = os.fstat(fd)
                folder.gives = have.st_uid, have.st_gid
                apply.settle(fd, entry, have, site, fresh=True, inherits=folder.inherits)
            if site.few:
                os.fsync(fd)
        finally:
            os.close(fd)
    except BaseException:
        stage.discard(folder, name)
        raise
    if direct:
        stage.direct(folder, entry)
    else:
        stage.add(folder, name, entry)
    return written


def _fill(fd: int, entry: Entry, contents: Contents) -> int:
    """Write what a new file holds. Returns the bytes written."""
    if entry.size and (entry.extra.extents or not contents):
        os.ftruncate(fd, entry.size)  # first: room that XFS sets aside for a growing file would fill the holes
    written = 0
    for data, spans in contents:
        for offset, start, stop in spans:
            write_at(fd, data, offset, start, stop)
            written += stop - start
    return written


def write_at(fd: int, data: Buffer, offset: int, start: int, stop: int) -> None:
    """Write a part of a chunk at its place in an open file. Raises OSError."""
    part = data if start == 0 and stop == len(data) else memoryview(data)[start:stop]
    count = os.pwrite(fd, part, offset)
    while count < stop - start:
        count += os.pwrite(fd, memoryview(data)[start + count : stop], offset + count)
