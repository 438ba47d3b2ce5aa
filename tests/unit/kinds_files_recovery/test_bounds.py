"""Memory and open files stay bounded, whatever the size of the tree."""

from __future__ import annotations

import os
import resource
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from knowngood.core.errors import NoSpace
from knowngood.kinds.files import spill
from knowngood.kinds.files.recovery.links import LinkTable
from knowngood.kinds.files.recovery.place import Pending
from knowngood.kinds.files.spill import NameSet, Table
from knowngood.testing.trees import differences, picture
from knowngood.tree.block import ROW, BlockWriter, Content, Entry, Extra
from tests.unit.kinds_files_recovery.recovering import age, capture


def _entry(name: bytes, *, links: int = 1, inode: int = 1, mode: int = stat.S_IFREG | 0o644) -> Entry:
    writer = BlockWriter(b"a\0b", 0)
    writer.add(name, ROW.pack(mode, 0, 0, links, 0, 0, 0, inode), Content.NONE)
    return next(writer.block().entries())


def test_tables_go_to_disk() -> None:
    """Beyond their limit, and work the same."""
    table = Table(10)
    for number in range(100):
        table.put(b"%d" % number, b"value %d" % number)
    for number in range(0, 100, 2):
        table.put(b"%d" % number, b"other")
    table.drop(b"5")
    table.drop(b"55")
    assert [table.get(key) for key in (b"4", b"5", b"6", b"54", b"55", b"57", b"x")] == [
        b"other", None, b"other", b"other", None, b"value 57", None,
    ]  # fmt: skip
    table.close()
    assert table.get(b"4") is None


def test_sets_of_names_go_to_disk() -> None:
    """Like tables."""
    names = NameSet(10)
    for number in range(100):
        names.add(b"%d" % number)
    assert all(b"%d" % number in names for number in range(100))
    assert b"100" not in names
    names.close()


def test_a_table_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Says where to find more."""
    table = Table(0)
    table.put(b"a", b"b")
    assert table._far
    table._far.execute("PRAGMA max_page_count = 3")
    with pytest.raises(NoSpace) as raised:
        for number in range(10_000):
            table.put(b"%d" % number, bytes(100))
    assert "SQLITE_TMPDIR" in raised.value.hint
    table.close()


def test_pending_folders_go_to_disk() -> None:
    """A folder of very many folders keeps few of them in memory, in their order."""
    pending = Pending()
    extra = Extra(xattrs=((b"user.x", b"1"),))
    count = 90_000
    for number in range(count):
        pending.add(_entry_fast(number, extra if number % 1000 == 0 else None), wanted=number % 3 != 0)
    assert pending._file is not None
    for number in range(count):
        head = pending.head()
        assert head == pending.head()
        assert head is not None
        entry, wanted = head
        assert (entry.name, entry.inode, wanted) == (b"%08d" % number, number, number % 3 != 0)
        assert entry.extra.xattrs == (extra.xattrs if number % 1000 == 0 else ())
        pending.pop()
    assert pending.head() is None


_PROTOTYPE = _entry(b"prototype", mode=stat.S_IFDIR | 0o755)


def _entry_fast(number: int, extra: Extra | None) -> Entry:
    return replace(_PROTOTYPE, name=b"%08d" % number, inode=number, extra=extra or _PROTOTYPE.extra)


def test_links_are_forgotten_when_all_have_come() -> None:
    """And counted by file system and inode."""
    links = LinkTable(3)
    assert links.first(_entry(b"one", links=3, inode=7)) is None
    assert links.first(_entry(b"other", links=2, inode=8)) is None
    assert links.first(_entry(b"two", links=3, inode=7)) == b"a\0b\0one"
    links.move(_entry(b"two", links=3, inode=7))
    assert links.first(_entry(b"three", links=3, inode=7)) == b"a\0b\0two"
    assert links.first(_entry(b"again", links=3, inode=7)) is None
    for inode in range(100, 110):
        assert links.first(_entry(b"x", links=2, inode=inode)) is None
    for inode in range(100, 110):
        assert links.first(_entry(b"y", links=2, inode=inode)) == b"a\0b\0x"
    links.close()


def test_many_hard_links(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than memory is meant to hold come back, over several rounds and folders."""
    monkeypatch.setattr(spill.Table.__init__, "__defaults__", (5,))
    monkeypatch.setattr(LinkTable.__init__, "__defaults__", (5,))
    monkeypatch.setattr("knowngood.kinds.files.recovery.rounds._WAITING_LINKS", 20)
    source = folder / "source"
    for number in range(30):
        (source / f"{number}").mkdir(parents=True)
        for name in range(10):
            first = source / "0" / f"{name}"
            if number:
                os.link(first, source / f"{number}" / f"{name}")
            else:
                first.write_bytes(b"%d" % name * 200)
    for number in range(40):
        (source / f"pair-{number}").write_bytes(b"x")
        os.link(source / f"pair-{number}", source / "7" / f"pair-{number}")
    age(source)
    kept = capture(source)
    assert kept.recover(folder / "place").problems == []
    assert differences(picture(source), picture(folder / "place")) == []
    for name in ("3/4", "0/5", "29/5", "7/pair-9"):
        (folder / "place" / name).unlink()
    assert kept.recover(folder / "place").problems == []
    assert differences(picture(source), picture(folder / "place")) == []


def test_few_descriptors_are_enough(folder: Path) -> None:
    """Long rows of folders, deep ones, and many at once, with no more than 400 open files."""
    source = folder / "source"
    for number in range(600):
        (source / f"{number}" / "below").mkdir(parents=True)
        (source / f"{number}" / "below" / "file").write_bytes(b"%d" % number)
    (source / "/".join("d" * 90)).mkdir(parents=True)
    age(source)
    kept = capture(source)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 400, hard))
    try:
        for _ in range(2):
            assert kept.recover(folder / "place").problems == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert differences(picture(source), picture(folder / "place")) == []
