"""The names of one directory in order, in bounded memory: those that belong to the component.

Names up to a limit are sorted in memory. More of them are written out as sorted runs into files that have no name, and
are merged while they are read. The same files hold long lists of directories that still have to be walked.
"""

from __future__ import annotations

import errno
import heapq
import os
import sys
import tempfile
from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import BinaryIO

from knowngood.core.errors import KnowngoodError, NoSpace
from knowngood.core.model import ComponentSpec
from knowngood.core.sizes import KIB
from knowngood.kinds.files.exclude import CACHE_TAG, Exclusions, is_cache, is_vault
from knowngood.tree.block import ROOT_NAME

Keep = Callable[["os.DirEntry[str]", bytes], bool]
"""Whether an entry, given with its name as bytes, belongs to the component."""

Belongs = Callable[[bytes, bool], bool]
"""Whether an entry of this name, which is a directory or is not, belongs to the component."""

_ENCODING = sys.getfilesystemencoding()
_ERRORS = sys.getfilesystemencodeerrors()
_BLOCK = 64 * KIB
_RUNS = 64  # so many open files at most: then they are merged into one


class Spill:
    """Where names go that would take too much memory: nameless files in the state folder."""

    def __init__(self, folder: str, limit: int) -> None:
        self.limit = limit
        self._folder = folder
        self._open: set[BinaryIO] = set()

    def write(self, names: Iterable[bytes], file: BinaryIO | None = None) -> BinaryIO:
        """Append names, each ended by NUL, to a run; to a new one by default. Raises NoSpace."""
        remaining = iter(names)
        try:
            run: BinaryIO = file or tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - `read` closes it
            self._open.add(run)
            while batch := list(islice(remaining, 4096)):
                run.write(b"\0".join(batch) + b"\0")
        except OSError as wrong:
            hint = f"free some space in {self._folder}"
            if wrong.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace("no room to sort the names of a large directory", hint=hint) from None
            raise KnowngoodError(f"cannot sort the names of a large directory: {wrong}", hint=hint) from None
        return run

    def read(self, file: BinaryIO) -> Iterator[bytes]:
        """The names of a run, from its beginning; its end is the end of the file too."""
        file.seek(0)
        rest = b""
        while block := file.read(_BLOCK):
            *names, rest = (rest + block).split(b"\0")
            yield from names
        file.close()
        self._open.discard(file)

    def merged(self, runs: list[BinaryIO]) -> Iterator[bytes]:
        """The names of several sorted runs in order, each once."""
        before = b""
        for name in heapq.merge(*map(self.read, runs)):
            if name != before:  # a directory that changes meanwhile may list a name twice
                yield name
            before = name

    def close(self) -> None:
        """Close what was not read to its end."""
        for file in self._open:
            file.close()
        self._open.clear()


def sorted_names(fd: int, spill: Spill, keep: Keep | None = None) -> Iterable[bytes]:
    """All names of an open directory in ascending order: a list, or a stream where there are too many for one.

    The directory is read to its end before this returns. Raises OSError.
    """
    with os.scandir(fd) as entries:
        names = _some(entries, keep, spill.limit)
        if len(names) < spill.limit:
            names.sort()
            return names
        runs: list[BinaryIO] = []
        while names:
            names.sort()
            runs.append(spill.write(names))
            if len(runs) == _RUNS:
                runs = [spill.write(spill.merged(runs))]
            names = _some(entries, keep, spill.limit)
    return spill.merged(runs)


def _some(entries: Iterator[os.DirEntry[str]], keep: Keep | None, limit: int) -> list[bytes]:
    if keep is None:
        return [entry.name.encode(_ENCODING, _ERRORS) for entry in islice(entries, limit)]
    names: list[bytes] = []
    for entry in entries:
        name = entry.name.encode(_ENCODING, _ERRORS)
        if keep(entry, name):
            names.append(name)
            if len(names) == limit:
                break
    return names


class Spool:
    """Names in the order in which they were added, read once; on disk when there are many."""

    def __init__(self, spill: Spill) -> None:
        self._spill = spill
        self._names: list[bytes] = []
        self._file: BinaryIO | None = None

    def extend(self, names: Iterable[bytes]) -> None:
        """Add names at the end."""
        self._names.extend(names)
        if len(self._names) >= self._spill.limit:
            self._file = self._spill.write(self._names, self._file)
            self._names = []

    def __iter__(self) -> Iterator[bytes]:
        if self._file is not None:
            yield from self._spill.read(self._file)
        yield from self._names


class Lister:
    """Lists directories of one component."""

    def __init__(self, component: ComponentSpec, state_dir: str, limit: int) -> None:
        """At most `limit` names are held in memory; the rest goes to the state folder. Raises UsageError."""
        self.spill = Spill(state_dir, limit)
        self._exclusions = Exclusions(component.exclude)
        self._caches = component.exclude_caches
        self._one_file_system = component.one_file_system
        self._root_device = -1
        state = os.stat(state_dir)
        self._state = (state.st_dev, state.st_ino)

    def names(self, key: bytes, fd: int, here: os.stat_result) -> Iterable[bytes]:
        """The names in an open directory, in order; ask for the root first. Raises OSError.

        Nothing is listed of other file systems where that was asked for, of our own vaults and of the state folder.
        The root lists itself as well.
        """
        if not key:
            self._root_device = here.st_dev
        only = self._only(fd, here)
        names: Iterable[bytes]
        if only is not None:
            names = only
        else:
            names = sorted_names(fd, self.spill, self._keep(key) if self._exclusions else None)
        return names if key else _with_root(names)

    def belongs(self, key: bytes, fd: int, here: os.stat_result) -> Belongs:
        """What tells of single names of an open directory what `names` would list; ask for the root first."""
        if not key:
            self._root_device = here.st_dev
        only = self._only(fd, here)
        if only is not None:
            return lambda name, _: name in only
        above = _above(key)
        left_out = self._exclusions.match
        return lambda name, is_directory: not left_out(above, name, is_directory)

    def _only(self, fd: int, here: os.stat_result) -> list[bytes] | None:
        """The names of a directory of which nothing else belongs to the component; None for an ordinary one."""
        if (self._one_file_system and here.st_dev != self._root_device) or self._is_ours(fd, here):
            return []
        return [CACHE_TAG] if self._caches and is_cache(fd) else None

    def _is_ours(self, fd: int, here: os.stat_result) -> bool:
        return (here.st_dev, here.st_ino) == self._state or is_vault(fd)

    def _keep(self, key: bytes) -> Keep:
        above = _above(key)
        left_out = self._exclusions.match
        return lambda entry, name: not left_out(above, name, entry.is_dir(follow_symlinks=False))


def _above(key: bytes) -> bytes:
    """A directory as patterns see it."""
    return key.replace(b"\0", b"/") + b"/" if key else b""


def _with_root(names: Iterable[bytes]) -> Iterable[bytes]:
    if not isinstance(names, list):
        return heapq.merge(names, [ROOT_NAME])
    insort(names, ROOT_NAME)
    return names
