"""A folder on a local disk as a store. An object and the folders that lead to it are synced before `put` returns.

Generic object layers skip those syncs on local disks; a power cut then loses objects that were acknowledged.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import re
import secrets
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Exists, KnowngoodError, NoSpace, NotFound, StoreFailed
from knowngood.core.ports import ObjectStat
from knowngood.core.sizes import MIB
from knowngood.core.traits import StoreTraits
from knowngood.linux.direct import DirectRuns, open_direct

_PART = "[A-Za-z0-9][A-Za-z0-9._-]*"
_KEY = re.compile(f"{_PART}(?:/{_PART})*")
_PREFIX = re.compile(f"(?:{_PART}/)*")
_IOV_MAX = 1024
_TEMPORARY = "tmp"
_SYNCERS = 8
DIRECT_FROM = 1 * MIB  # objects of so many bytes are worth the way past the cache: each write waits for the disk
_MAP_FROM = 64 << 10  # a mapping keeps a file open, and a process may have few: the index has many small runs


@contextmanager
def _mapped(doing: str, key: str) -> Iterator[None]:
    """Turn the operating system's errors into ours, once, here."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"the vault has no object '{key}'") from None
    except FileExistsError:
        raise Exists(f"the vault already has an object '{key}'") from None
    except OSError as wrong:
        raise _translated(wrong, doing, key) from None


def _translated(wrong: OSError, doing: str, key: str) -> KnowngoodError:
    if wrong.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(
            f"the vault's disk is full ({doing} '{key}')",
            hint="free space there, or run: knowngood tidy, then knowngood vault collect",
        )
    hint = "check the folder's owner and rights" if wrong.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else ""
    return StoreFailed(f"{doing} '{key}' failed: {wrong.strerror}", hint=hint)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folders(folders: Collection[Path]) -> None:
    """Several at once: a file system with a journal then writes that once for many of them."""
    if len(folders) < 2:
        for each in folders:
            _sync_folder(each)
        return
    with ThreadPoolExecutor(min(_SYNCERS, len(folders)), "sync") as threads:
        for done in [threads.submit(_sync_folder, each) for each in folders]:
            done.result()


def _settle(folder: Path) -> None:
    """Make durable what is seen in a folder. Where nothing can be written there is nothing to be made durable."""
    try:
        _sync_folder(folder)
    except OSError as wrong:
        if wrong.errno not in (errno.EROFS, errno.EINVAL):
            raise


def _write_all(handle: int, parts: Sequence[Buffer]) -> None:
    views = [memoryview(part).cast("B") for part in parts if len(part)]
    while views:
        written = os.writev(handle, views[:_IOV_MAX])
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if written:
            views[0] = views[0][written:]


class DiskStore:
    """Objects as files below one folder."""

    traits = StoreTraits(local=True)

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._durable: set[Path] = set()
        self._runs = DirectRuns()
        self._seen: tuple[int, int] | None = None  # which folder it is: device and inode of the root

    def _still_here(self) -> None:
        """Raise StoreFailed when the folder that was read from is not there any more: moved away, or unmounted.

        To go on would put objects into a new folder, or below a mount point, and acknowledge them there.
        """
        seen = self._seen  # before the look: while it is taken, another thread may make the folder, and see it
        here = _identity(self.root)
        if seen is not None and here != seen:
            raise StoreFailed(f"the folder {self.root} was taken away", hint="is the vault's disk mounted?")
        if here is not None:
            self._seen = here

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key) or key.startswith(_TEMPORARY + "/"):
            raise StoreFailed(f"'{key}' is not a key of an object")
        return self.root / key

    def _make_folder(self, folder: Path) -> None:
        """Make a folder below the root, durably. One that is there may be another process's, which was killed before
        it had synced it: the first use by this one makes sure."""
        if folder in self._durable and folder.is_dir():
            return
        if folder == self.root:
            self._make_root()
        else:
            self._make_folder(folder.parent)
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            _sync_folder(folder.parent)
        self._durable.add(folder)

    def _make_root(self) -> None:
        """Folder by folder from above, each made durable: of those that a killed process made, only the last may not
        be, and that one is made so here."""
        new = list(itertools.takewhile(lambda folder: not folder.is_dir(), (self.root, *self.root.parents)))
        with suppress(PermissionError):  # then we did not make what is there
            _sync_folder((new[-1].parent if new else self.root).parent)
        for folder in reversed(new):
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700 if folder == self.root else 0o777)
            _sync_folder(folder.parent)

    def put(self, key: str, parts: Sequence[Buffer]) -> None:
        """Create an object from its parts: written beside, synced, linked into place, folder synced."""
        path = self._path(key)
        with _mapped("writing", key):
            self._still_here()
            self._make_folder(self.root / _TEMPORARY)
            self._make_folder(path.parent)
            try:
                while not self._put_once(path, parts):
                    pass
            finally:  # also when the key is taken: who is told so relies on it, and its writer may be gone
                _sync_folder(path.parent)

    def _put_once(self, path: Path, parts: Sequence[Buffer]) -> bool:
        """Write and link; False when a sweep took the unfinished file for one that was left behind."""
        # Never a name that was used before: killed between `link` and `unlink`, a writer leaves a second name of its
        # object here, and to write through that would destroy the object.
        temporary = self.root / _TEMPORARY / secrets.token_hex(16)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                self._write(handle, temporary, parts)
                os.fsync(handle)
            finally:
                os.close(handle)
            os.link(temporary, path)  # unlike a rename, this never replaces what is there
            return True
        except FileNotFoundError:
            if path.parent.is_dir():
                return False
            raise
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    def _write(self, handle: int, path: Path, parts: Sequence[Buffer]) -> None:
        large = sum(memoryview(part).nbytes for part in parts) >= DIRECT_FROM
        direct = open_direct(os.fspath(path)) if large else None
        if direct is None:
            _write_all(handle, parts)
            return
        try:
            self._runs.write(handle, direct, 0, parts)
        finally:
            os.close(direct)

    def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object."""
        with _mapped("reading", key):
            handle = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._seen = self._seen or _identity(self.root)
                want = max(0, os.fstat(handle).st_size - offset)
                return _read_all(handle, offset, want if length is None else min(length, want))
            finally:
                os.close(handle)

    def view(self, key: str) -> bytes | mmap.mmap:
        """The whole object; a large one is mapped: only what is touched is read."""
        with _mapped("reading", key), open(self._path(key), "rb") as file:
            if os.fstat(file.fileno()).st_size < _MAP_FROM:
                return file.read()
            return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def stat(self, key: str) -> ObjectStat:
        """An object's length."""
        with _mapped("looking at", key):
            return ObjectStat(key, os.stat(self._path(key)).st_size)

    def list(self, prefix: str, *, settled: bool = False) -> Iterator[ObjectStat]:
        """Every whole object below a prefix that ends in `/`; when `settled`, its folders are synced."""
        if not _PREFIX.fullmatch(prefix) or prefix.startswith(_TEMPORARY + "/"):
            raise StoreFailed(f"'{prefix}' is not a prefix of objects: it has to end in '/'")
        start = self.root / prefix
        with _mapped("listing", prefix):
            yield from self._below(start, prefix, settled)

    def _below(self, folder: Path, prefix: str, settled: bool) -> Iterator[ObjectStat]:
        try:
            found = sorted(os.scandir(folder), key=lambda each: each.name)
            if settled:
                _settle(folder)
        except FileNotFoundError:
            return
        for each in found:
            if each.is_dir(follow_symlinks=False):
                if prefix or each.name != _TEMPORARY:
                    yield from self._below(folder / each.name, f"{prefix}{each.name}/", settled)
            elif _KEY.fullmatch(each.name):
                with suppress(FileNotFoundError):  # deleted since the folder was read
                    yield ObjectStat(prefix + each.name, each.stat(follow_symlinks=False).st_size)

    def delete(self, *keys: str) -> None:
        """Remove objects and sync their folders."""
        folders: set[Path] = set()
        for key in keys:
            path = self._path(key)
            with _mapped("deleting", key), suppress(FileNotFoundError):
                os.unlink(path)
                folders.add(path.parent)
        with _mapped("deleting", ", ".join(keys[:1])):
            _sync_folders(folders)

    def free_bytes(self) -> int | None:
        """Room left on the disk for this user."""
        with _mapped("looking at", ""):
            found = os.statvfs(self.root)
            return found.f_bavail * found.f_frsize

    def sweep(self) -> int:
        """Remove what killed writers left half written. Only while nobody writes. Returns how many files."""
        count = 0
        with _mapped("sweeping", _TEMPORARY), suppress(FileNotFoundError):
            for each in os.scandir(self.root / _TEMPORARY):
                with suppress(FileNotFoundError):
                    os.unlink(each.path)
                    count += 1
        return count


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder this is; None when there is none."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _read_all(handle: int, offset: int, length: int) -> bytes:
    first = os.pread(handle, length, offset)
    if len(first) == length or not first:
        return first
    pieces = [first]
    got = len(first)
    while got < length and (piece := os.pread(handle, length - got, offset + got)):
        pieces.append(piece)
        got += len(piece)
    return b"".join(pieces)
