"""A component, its folder of cookies and a folder outside; and whether an answer covers what has changed."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from knowngood.core.model import ComponentSpec
from knowngood.kinds.files.watch import FANOTIFY, Dirty, Watcher, watch
from knowngood.linux import fanotify
from tests.unit.kinds_files_watch.chaos import INODE, LINKS, MODE, Rows, rows


@dataclass
class Site:
    """Folders on one file system."""

    base: Path
    spec: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root = self.base / "root"
        self.outside = self.base / "outside"
        self.cookies = self.base / "cookies"
        for each in (self.root, self.outside, self.cookies):
            each.mkdir(exist_ok=True)

    def watch(self, **options: Any) -> Watcher:
        """A watcher of the root; skips the test when it is to be fanotify, and the kernel does not let us."""
        if options.get("feeds") == (FANOTIFY,):
            _skip_without_fanotify(self.base)
        component = ComponentSpec(name="files", kind="files", path=str(self.root), **self.spec)
        return watch(component, str(self.cookies), **options)

    def ours(self, dirty: Dirty) -> Dirty:
        """Without what others did: whoever makes hard links on this file system is told of by number."""
        there = {each.lstat().st_ino for each in self.base.rglob("*")}
        return replace(dirty, inodes=dirty.inodes & there)

    def rows(self) -> Rows:
        """What the root looks like."""
        return rows(os.fsencode(self.root))


def _skip_without_fanotify(folder: Path) -> None:
    """In a container, for instance. Asks the kernel, and nothing that is under test."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        group = fanotify.open_group()
        try:
            fanotify.mark(group, fd)
        finally:
            os.close(group)
    except OSError as wrong:
        if wrong.errno != errno.EXDEV:
            pytest.skip(f"no fanotify on the file system of {folder}: {wrong.strerror}")
    finally:
        os.close(fd)


def missed(before: Rows, after: Rows, dirty: Dirty, *, by_links: bool = False) -> list[tuple[bytes, bytes]]:
    """Entries that differ and of which an answer does not say so.

    With `by_links` the caller follows names of the same file himself, starting from the entries that are dirty.
    """
    if dirty.lost:
        return []
    inodes = set(dirty.inodes)
    if by_links:
        for state in (before, after):
            known = (row for entry, row in state.items() if entry in dirty.entries or _in_subtree(entry[0], dirty))
            inodes |= {row[INODE] for row in known if row[LINKS]}
    return [
        entry
        for entry in before.keys() | after.keys()
        if before.get(entry) != after.get(entry) and not _covered(entry, before, after, dirty, inodes)
    ]


def _covered(entry: tuple[bytes, bytes], before: Rows, after: Rows, dirty: Dirty, inodes: set[int]) -> bool:
    states = [state[entry] for state in (before, after) if entry in state]
    if entry in dirty.entries or _in_subtree(entry[0], dirty) or any(row[INODE] in inodes for row in states):
        return True
    if entry in after:
        return False
    # What is gone goes with a folder above it that is gone, or is something else now.
    parts = entry[0].split(b"\0") if entry[0] else []
    above = [(b"\0".join(parts[:count]), parts[count]) for count in range(len(parts))]
    return any(each in dirty.entries and _is_another(before[each], after.get(each)) for each in above)


def _in_subtree(key: bytes, dirty: Dirty) -> bool:
    parts = key.split(b"\0") if key else []
    return not dirty.subtrees.isdisjoint(b"\0".join(parts[:count]) for count in range(len(parts) + 1))


def _is_another(before: tuple[int, ...], after: tuple[int, ...] | None) -> bool:
    return after is None or before[INODE] != after[INODE] or stat.S_IFMT(before[MODE]) != stat.S_IFMT(after[MODE])
