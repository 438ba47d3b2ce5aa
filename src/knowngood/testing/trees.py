"""Pictures of real trees: all that a recovery has to bring back, in a form that can be compared."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from dataclasses import dataclass, replace

_FS_IOC_GETFLAGS = 0x80086601
_USER_FLAGS = 0x228184FF  # those that can be set; the kernel keeps the others for itself
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing in a tree. `links` are all its paths in this tree, when it has more than one there."""

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime_ns: int
    size: int = 0
    content: str = ""  # digest of a file, target of a symlink, number of a device
    data: tuple[tuple[int, int], ...] = ()  # (from, to) of what is no hole, in files that have holes
    xattrs: tuple[tuple[str, bytes], ...] = ()
    flags: int = 0
    links: tuple[bytes, ...] = ()


Picture = dict[bytes, Seen]
"""Path below the root → what is there. b"." is the root itself."""


def picture(root: str | bytes | os.PathLike[str], *, without: tuple[bytes, ...] = ()) -> Picture:
    """What a real tree looks like. `without` are names that are left out, with all below them.

    Paths may be of any length: the tree is walked by descriptors. Reads everything. Raises OSError.
    """
    seen: Picture = {}
    groups: dict[tuple[int, int], list[bytes]] = {}
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        seen[b"."] = _seen(fd, None)
        _walk(fd, b"", seen, groups, without)
    finally:
        os.close(fd)
    for paths in groups.values():
        if len(paths) > 1:
            for path in paths:
                seen[path] = replace(seen[path], links=tuple(sorted(paths)))
    return seen


def differences(before: Picture, after: Picture) -> list[str]:
    """What differs between two pictures, a line for each path: what a failing test wants to show."""
    lines: list[str] = []
    for path in sorted(before.keys() | after.keys()):
        one, other = before.get(path), after.get(path)
        if one is None or other is None:
            lines.append(f"{path!r}: {'only after' if one is None else 'only before'}: {one or other}")
        elif one != other:
            fields = [name for name in Seen.__slots__ if getattr(one, name) != getattr(other, name)]
            parts = [f"{name}: {getattr(one, name)!r} → {getattr(other, name)!r}" for name in fields]
            lines.append(f"{path!r}: " + ", ".join(parts))
    return lines


def _walk(
    root: int, prefix: bytes, seen: Picture, groups: dict[tuple[int, int], list[bytes]], without: tuple[bytes, ...]
) -> None:
    """Depth first. Only one folder is open at a time, so depth has no limit."""
    ahead = [prefix]
    while ahead:
        above = ahead.pop()
        fd = _open_below(root, above)
        try:
            with os.scandir(fd) as entries:
                names = sorted(os.fsencode(entry.name) for entry in entries)
            for name in names:
                if name in without:
                    continue
                path = above + b"/" + name if above else name
                seen[path] = _seen(fd, name)
                here = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if stat.S_ISDIR(here.st_mode):
                    ahead.append(path)
                elif here.st_nlink > 1:
                    groups.setdefault((here.st_dev, here.st_ino), []).append(path)
        finally:
            os.close(fd)


def _open_below(root: int, path: bytes) -> int:
    fd = os.dup(root)
    for name in path.split(b"/") if path else ():
        below = os.open(name, _FOLDER, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd


def _seen(folder: int, name: bytes | None) -> Seen:
    """One entry of an open folder, or the folder itself."""
    here = os.fstat(folder) if name is None else os.stat(name, dir_fd=folder, follow_symlinks=False)
    mode, owner = stat.S_IMODE(here.st_mode), (here.st_uid, here.st_gid)
    if stat.S_ISREG(here.st_mode) or stat.S_ISDIR(here.st_mode):
        return _opened(folder, name, mode, owner, here.st_mtime_ns)
    assert name is not None
    kind, content = _KINDS[stat.S_IFMT(here.st_mode)], ""
    if stat.S_ISLNK(here.st_mode):
        mode, content = 0, os.readlink(name, dir_fd=folder).hex()
    elif kind == "device":
        content = f"{stat.S_IFMT(here.st_mode):o} {here.st_rdev}"
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
    try:
        xattrs = _xattrs(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    return Seen(kind, mode, owner, here.st_mtime_ns, content=content, xattrs=xattrs)


def _opened(folder: int, name: bytes | None, mode: int, owner: tuple[int, int], mtime_ns: int) -> Seen:
    fd = os.dup(folder) if name is None else os.open(name, _FILE, dir_fd=folder)
    try:
        here = os.fstat(fd)
        xattrs, flags = _xattrs(fd), _flags(fd)
        if stat.S_ISDIR(here.st_mode):
            return Seen("folder", mode, owner, mtime_ns, xattrs=xattrs, flags=flags)
        data = _data(fd, here.st_size)  # never by st_blocks: XFS counts room there that it only sets aside
        return Seen("file", mode, owner, mtime_ns, here.st_size, _digest(fd, here.st_size), data, xattrs, flags)
    finally:
        os.close(fd)


_KINDS = {
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
}


def _xattrs(at: int | str) -> tuple[tuple[str, bytes], ...]:
    try:
        return tuple((name, os.getxattr(at, name)) for name in sorted(os.listxattr(at)))
    except OSError as wrong:
        if wrong.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
            return ()
        raise


def _flags(fd: int) -> int:
    answer = bytearray(8)
    try:
        fcntl.ioctl(fd, _FS_IOC_GETFLAGS, answer)
    except OSError:
        return 0
    return int.from_bytes(answer[:4], "little") & _USER_FLAGS


def _data(fd: int, size: int) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # nothing but a hole to the end
            break
        at = os.lseek(fd, start, os.SEEK_HOLE)
        found.append((start, at))
    return () if found == [(0, size)] else tuple(found) or ((0, 0),)


def _digest(fd: int, size: int) -> str:
    """Holes are skipped: a sparse file of terabytes takes no longer than its data."""
    digest = hashlib.blake2b(digest_size=16)
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(fd, start, os.SEEK_HOLE)
        at = start
        while at < end and (piece := os.pread(fd, min(_READ, end - at), at)):
            if piece.count(0) != len(piece):
                digest.update(at.to_bytes(8, "little") + piece)
            at += len(piece)
        at = max(at, end)
    return digest.hexdigest()
