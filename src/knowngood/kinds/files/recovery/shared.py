"""What all parts of one recovery share: where content comes from, what went wrong, names of temporary files."""

from __future__ import annotations

import errno
import itertools
import os
import re
import secrets
import threading
from dataclasses import dataclass, field

from knowngood.core.errors import Damaged, KnowngoodError, NoSpace, NotFound
from knowngood.core.model import Problem
from knowngood.core.ports import PageSource, Recovered
from knowngood.core.progress import Progress
from knowngood.kinds.files.problems import Problems
from knowngood.kinds.files.recovery.flush import Flusher
from knowngood.tree.block import Entry
from knowngood.tree.read import TreeReader

MARKER = b".knowngood-unfinished"
"""Lies in a target that a recovery began empty, until all of it is there."""
_LEFTOVER = re.compile(rb"\.knowngood-[0-9a-f]{8}-[0-9a-f]{1,12}\.tmp")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})


class InTheWay(KnowngoodError):
    """Something that must not be deleted stands where something else belongs."""


class Notes:
    """What could not be done, from all threads: single problems, and what would repeat for every file, counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._problems = Problems()
        self._counted: dict[str, tuple[int, bytes]] = {}

    def add(self, path: bytes, reason: str) -> None:
        """Note one problem."""
        with self._lock:
            self._problems.add(path, reason)

    def count(self, what: str, path: bytes) -> None:
        """Note something that becomes one problem at the end: how often, and for which path first."""
        with self._lock:
            often, first = self._counted.get(what, (0, path))
            self._counted[what] = (often + 1, first)

    def report(self, recovered: Recovered) -> None:
        """Hand over what was noted; what was counted comes first."""
        counted = [
            Problem(first, f"{what}, here and {often - 1} times more" if often > 1 else what)
            for what, (often, first) in self._counted.items()
        ]
        recovered.problems = counted + self._problems.listed
        recovered.problem_count = self._problems.count + len(counted)


@dataclass(eq=False)
class Site:
    """One recovery."""

    reader: TreeReader
    pages: PageSource
    progress: Progress
    target: str
    started_ns: int  # when the checkpoint was begun
    umask: int
    few: bool = False  # few things are to be changed: each is put on stable storage by itself
    many: bool = False  # many files are to be made: it pays to let other processes write
    direct: bool = False  # the target is marked as unfinished: new files are written under their own names
    complete: bool = True  # all pages of the tree could be read so far; else nothing may be deleted
    flusher: Flusher | None = None
    notes: Notes = field(default_factory=Notes)
    done: Recovered = field(default_factory=Recovered)
    lost: set[bytes] = field(default_factory=set)  # keys of files with several names that could not be recovered
    live: dict[tuple[bytes, bytes], int] = field(default_factory=dict)
    """Half-made things to be removed when the run ends early: (directory, name) → its directory's descriptor."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._prefix = b".knowngood-" + secrets.token_hex(4).encode() + b"-"
        self._numbers = itertools.count()

    def temporary(self) -> bytes:
        """A new name for a temporary file."""
        return self._prefix + b"%x.tmp" % next(self._numbers)

    def is_leftover(self, name: bytes) -> bool:
        """Whether this is the name of a temporary file that an earlier run, killed, has left."""
        return _LEFTOVER.fullmatch(name) is not None and not self.is_own(name)

    def is_own(self, name: bytes) -> bool:
        """Whether this is the name of a temporary file of this run."""
        return name.startswith(self._prefix)

    def count(self, files: int, size: int, written: int) -> None:
        """Add to what was done. Bytes."""
        with self._lock:
            self.done.files += files
            self.done.bytes += size
            self.done.written_bytes += written
            self.progress.files += files
            self.progress.bytes += size
            if self.flusher is not None:
                self.flusher.wrote(written)

    def failed(self, entry: Entry, wrong: OSError | KnowngoodError) -> None:
        """Note that an entry could not be recovered. Raises what must end the run instead."""
        if entry.links > 1 and not entry.is_directory:
            self.lost.add(entry.key)
        if isinstance(wrong, OSError):
            self.check(wrong)
            self.notes.add(entry.path, said(wrong))
        elif isinstance(wrong, (Damaged, NotFound)):
            self.notes.add(entry.path, f"{wrong.message}; nothing was changed here")
        elif isinstance(wrong, InTheWay):
            self.notes.add(entry.path, wrong.message)
        else:
            raise wrong

    def check(self, wrong: OSError) -> None:
        """Raise what must end the run: a full disk, no more descriptors."""
        raise_if_final(wrong, self.target)


def raise_if_final(wrong: OSError, target: str) -> None:
    """Raise what no other file would fare better with: a full disk, no more descriptors."""
    if wrong.errno in _FULL:
        raise NoSpace(
            f"there is no more room in {target}",
            hint="free some, and run the same recovery again: what is done stays",
        ) from None
    if wrong.errno in _NO_DESCRIPTORS:
        raise KnowngoodError("too many open files", hint="raise the limit: ulimit -n 4096") from None


def said(wrong: OSError) -> str:
    """The words of the operating system."""
    return os.strerror(wrong.errno or 0).lower()
