"""All that a Linux tree holds is in the checkpoint, exactly."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
from pathlib import Path

import pytest

from knowngood.core.errors import NotFound
from knowngood.seal.chunker import ChunkSizes
from knowngood.tree.block import Content
from tests.unit.kinds_files.capturing import Site, noise

KIB = 1024


def test_empty_folder_holds_its_root(site: Site) -> None:
    """The root's own attributes are an entry."""
    os.chmod(site.tree, 0o751)
    os.utime(site.tree, ns=(1, 1_234_567_890_123_456_789))
    entries = site.capture().entries
    assert list(entries) == [b"."]
    root = entries[b"."]
    assert (root.mode, root.mtime_ns, root.size, root.links) == (stat.S_IFDIR | 0o751, 1_234_567_890_123_456_789, 0, 0)


@pytest.mark.parametrize(
    ("size", "content"),
    [
        (0, Content.NONE),
        (1, Content.INLINE),
        (128, Content.INLINE),
        (129, Content.CHUNK),
        (256 * KIB, Content.CHUNK),
        (256 * KIB + 1, None),
        (9_000_001, Content.CHUNKS),
    ],
)
def test_file_of_any_size(site: Site, size: int, content: Content | None) -> None:
    """Tiny files are in the tree, others in chunks."""
    data = noise(size)
    file = site.write("f", data)
    shot = site.capture()
    entry = shot.entries[b"f"]
    assert shot.content(b"f") == data
    assert content in (None, entry.content)
    assert (entry.size, entry.inode) == (size, file.stat().st_ino)
    assert shot.captured.totals.bytes == size


def test_huge_file_has_pages_of_chunks(site: Site) -> None:
    """More than 1,024 chunks are listed in pages; a change in the middle changes the page around it only."""
    site.sizes = ChunkSizes(2 * KIB, 2 * KIB, 16 * KIB)
    data = bytearray(noise(24 << 20))
    site.write("f", bytes(data))
    before = site.capture().entries[b"f"]
    assert before.content == Content.LIST
    assert len(before.extra.lengths) > 2
    assert sum(before.extra.lengths) == len(data)
    at = sum(before.extra.lengths[:-1]) // 2
    data[at:at] = b"inserted"
    site.write("f", bytes(data))
    shot = site.capture()
    assert shot.content(b"f") == data
    assert len(set(before.names()) - set(shot.entries[b"f"].names())) <= 2
    assert shot.captured.root == site.fresh().captured.root


def test_symlinks_pipes_and_sockets(site: Site) -> None:
    """Symlinks carry their target, also when it dangles or is not text; nothing is followed."""
    os.symlink(b"/nowhere/\xff\n", os.fsencode(site.tree) + b"/link")
    os.symlink(b"x" * 4000, site.tree / "long")
    os.symlink("..", site.tree / "up")
    os.mkfifo(site.tree / "pipe", 0o640)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(site.tree / "socket"))
        entries = site.capture().entries
    assert (entries[b"link"].inline, entries[b"link"].size) == (b"/nowhere/\xff\n", 11)
    assert entries[b"long"].inline == b"x" * 4000
    assert entries[b"up"].inline == b".."
    assert stat.S_ISFIFO(entries[b"pipe"].mode)
    assert stat.S_ISSOCK(entries[b"socket"].mode)
    assert len(entries) == 6


@pytest.mark.root
def test_devices_and_owners(site: Site) -> None:
    """Device numbers, owners and every bit of the mode."""
    for name, kind, number in (("c", stat.S_IFCHR, os.makedev(1, 3)), ("b", stat.S_IFBLK, os.makedev(300, 70000))):
        os.mknod(site.tree / name, kind | 0o620, number)
    file = site.write("f", b"x")
    os.chown(file, 70_000, 4_000_000_000)
    os.chmod(file, 0o6755)
    shot = site.capture()
    entries = shot.entries
    assert entries[b"c"].extra.rdev == os.makedev(1, 3)
    assert entries[b"b"].extra.rdev == os.makedev(300, 70000)
    assert (entries[b"f"].uid, entries[b"f"].gid) == (70_000, 4_000_000_000)
    assert entries[b"f"].mode == stat.S_IFREG | 0o6755
    assert shot.captured.totals.others == 2


def test_names_of_any_bytes(site: Site) -> None:
    """Names need not be text, may be 255 bytes long, and sort around the root's own entry by their bytes."""
    names = [
        b"\xff\xfe",
        b"a\nb",
        b"x" * 255,
        b"!first",
        b"-",
        b".hidden",
        b"..x",
        "ü".encode(),
        b"\x01",
        b"a\\b",
        b" ",
    ]
    for name in names:
        os.mkdir(os.fsencode(site.tree) + b"/" + name)
        with open(os.fsencode(site.tree) + b"/" + name + b"/" + name, "wb") as file:
            file.write(name * 2)
    shot = site.capture()
    assert set(shot.entries) == {b".", *names, *(name + b"/" + name for name in names)}
    for name in names:
        assert shot.content(name + b"/" + name) == name * 2


def test_order_of_directories_is_that_of_their_keys(site: Site) -> None:
    """What lies below a directory comes before its next sibling, whatever bytes follow the common part."""
    for path in ("a/x/y", "a!/x", "a/x!", "a.b/c", "ab/c"):
        site.write(path, b"1")
    shot = site.capture()
    assert [block.directory for block in shot.tree.blocks()] == [b"", b"a", b"a\0x", b"a!", b"a.b", b"ab"]


def test_times_to_the_nanosecond_and_beyond(site: Site) -> None:
    """Old, negative and distant times; what 64 bits cannot hold is moved inside and reported."""
    for name, when in (("old", -5_000_000_001), ("odd", 123_456_789), ("new", 4_102_444_800_999_999_999)):
        os.utime(site.write(name, b"x"), ns=(0, when))
        assert site.capture().entries[name.encode()].mtime_ns == os.lstat(site.tree / name).st_mtime_ns
    far = site.write("far", b"x")
    os.utime(far, ns=(0, 10**19))
    if far.stat().st_mtime_ns < 1 << 63:
        pytest.skip("this file system has no such times")
    shot = site.capture()
    assert shot.entries[b"far"].mtime_ns == (1 << 63) - 1
    assert list(shot.reasons) == [b"far"]


def sparse(path: Path, size: int, parts: dict[int, bytes]) -> bytes:
    """Make a file with holes; returns its content."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in parts.items():
            file.seek(offset)
            file.write(data)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (1 << 20, {}),
        (1 << 20, {0: b"head"}),
        (1 << 20, {(1 << 20) - 4: b"tail"}),
        (3 << 20, {4096: noise(8192), 1 << 20: noise(4096, 2)}),
        (64 << 20, {1 << 20: noise(3 << 20), 40 << 20: noise(2 << 20, 2)}),
    ],
)
def test_sparse_file_stays_sparse(site: Site, size: int, parts: dict[int, bytes]) -> None:
    """Holes are not content."""
    data = sparse(site.tree / "f", size, parts)
    shot = site.capture()
    entry = shot.entries[b"f"]
    assert shot.content(b"f") == data
    assert entry.size == size
    assert entry.extra.extents
    assert shot.captured.totals.read_bytes < size // 2


def test_sparse_file_with_countless_holes(site: Site) -> None:
    """Beyond a limit, small holes are read as zeros: the list of extents stays short."""
    site.limits = type(site.limits)(extents=8)
    data = sparse(site.tree / "f", 1 << 22, {at << 14: b"x" for at in range(0, 256, 3)} | {3 << 20: b"y"})
    shot = site.capture()
    assert shot.content(b"f") == data
    assert 1 <= len(shot.entries[b"f"].extents()) <= 8


def test_dense_file_has_no_extents(site: Site) -> None:
    """Only a real hole is one; zeros are not."""
    site.write("f", bytes(1 << 20))
    assert site.capture().entries[b"f"].extra.extents == b""


def set_or_skip(path: Path, name: str, value: bytes) -> None:
    """Set an extended attribute, or skip the test where that cannot be."""
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as wrong:
        pytest.skip(f"no {name} here: {wrong.strerror}")


def test_extended_attributes(site: Site) -> None:
    """Of files and folders, in order of names, with any bytes."""
    for path in (site.write("f", b"x" * 1000), site.tree):
        set_or_skip(path, "user.z", b"")
        set_or_skip(path, "user.a", b"\0\xff" * 100)
    entries = site.capture().entries
    for path in (b"f", b"."):
        assert entries[path].extra.xattrs == ((b"user.a", b"\0\xff" * 100), (b"user.z", b""))


@pytest.mark.root
def test_acls_capabilities_and_trusted_attributes(site: Site) -> None:
    """POSIX ACLs, file capabilities and trusted attributes are extended attributes; a symlink can have them too."""
    entry = struct.Struct("<HHI").pack
    anyone = 0xFFFFFFFF
    acl = struct.pack("<I", 2) + entry(1, 6, anyone) + entry(2, 4, 1000) + entry(4, 4, anyone)
    acl += entry(16, 4, anyone) + entry(32, 0, anyone)
    capability = struct.pack("<IIIII", 0x02000001, 0x400, 0, 0, 0)
    file, folder = site.write("f", b"x"), site.tree / "d"
    folder.mkdir()
    os.symlink("f", site.tree / "link")
    set_or_skip(file, "system.posix_acl_access", acl)
    set_or_skip(file, "security.capability", capability)
    set_or_skip(folder, "system.posix_acl_default", acl)
    set_or_skip(site.tree / "link", "trusted.kind", b"symlink")
    entries = site.capture().entries
    assert dict(entries[b"f"].extra.xattrs) == {b"system.posix_acl_access": acl, b"security.capability": capability}
    assert dict(entries[b"d"].extra.xattrs) == {b"system.posix_acl_default": acl}
    assert dict(entries[b"link"].extra.xattrs) == {b"trusted.kind": b"symlink"}


@pytest.mark.root
@pytest.mark.needs("chattr")
def test_file_flags(site: Site) -> None:
    """Those that can be set; not the file system's own."""
    file, folder = site.write("f", b"x"), site.tree / "d"
    folder.mkdir()
    for flags, path in (("+dAi", file), ("+dD", folder)):
        if os.spawnlp(os.P_WAIT, "chattr", "chattr", flags, os.fspath(path)):
            pytest.skip("no file flags here")
    try:
        entries = site.capture().entries
    finally:
        os.spawnlp(os.P_WAIT, "chattr", "chattr", "-i", os.fspath(file))
    assert entries[b"f"].extra.flags == 0x40 | 0x80 | 0x10
    assert entries[b"d"].extra.flags == 0x40 | 0x10000
    assert entries[b"."].extra.flags == 0


def test_hard_links_are_read_once(site: Site) -> None:
    """All names of a file have its content, inode and number of links."""
    first = site.write("a/first", noise(2 << 20))
    (site.tree / "b").mkdir()
    os.link(first, site.tree / "b/second")
    os.link(first, site.tree / "third")
    shot = site.capture()
    entries = shot.entries
    assert shot.captured.totals.read_bytes == 2 << 20
    assert {(entries[path].inode, entries[path].links) for path in (b"a/first", b"b/second", b"third")} == {
        (first.stat().st_ino, 3)
    }
    assert shot.content(b"b/second") == shot.content(b"third") == noise(2 << 20)


def test_forgotten_hard_link_is_read_again(site: Site) -> None:
    """What is remembered of hard links is bounded; without it the content is the same."""
    site.limits = type(site.limits)(link_bytes=1000)
    for number in range(4):
        os.link(site.write(f"a{number}", noise(1000, number)), site.tree / f"b{number}")
    shot = site.capture()
    assert 4000 < shot.captured.totals.read_bytes <= 8000
    assert all(shot.content(b"b%d" % number) == noise(1000, number) for number in range(4))


def test_single_file(site: Site) -> None:
    """A component can be one file: the root's entry is the file."""
    file = site.write("f", noise(2 << 20))
    site.path = file
    shot = site.capture()
    assert list(shot.entries) == [b"."]
    assert shot.content(b".") == noise(2 << 20)
    assert site.capture().captured.totals.read_bytes == 0
    file.write_bytes(b"now inline")
    assert site.capture().content(b".") == b"now inline"
    file.unlink()
    with pytest.raises(NotFound):
        site.capture()


def test_root_may_be_reached_by_a_symlink(site: Site) -> None:
    """The path that the user wrote is followed, nothing below it is."""
    site.write("f", b"x")
    site.path = site.base / "link"
    site.path.symlink_to(site.tree)
    assert set(site.capture().entries) == {b".", b"f"}


def test_deep_paths(site: Site) -> None:
    """Paths longer than the system takes, with few directories open."""
    site.limits = type(site.limits)(open_directories=8)
    depth, name = 300, b"d" * 20
    here = os.open(site.tree, os.O_RDONLY)
    for level in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
        for leaf in (b"a", b"z"):  # siblings before and after the way down
            os.mkdir(leaf, dir_fd=here)
            os.close(os.open(leaf + b"/f", os.O_CREAT, dir_fd=here))
        if level % 100 == 99:
            with open(os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=here), "wb") as file:
                file.write(b"%d" % level)
    os.close(here)
    try:
        shot = site.capture()
        again = site.capture()
    finally:
        shutil.rmtree(site.tree)
    deepest = b"/".join([name] * depth) + b"/file"
    assert len(deepest) > 4096
    assert shot.content(deepest) == b"299"
    assert len(shot.entries) == 1 + depth * 5 + 3
    assert shot.captured.problem_count == 0
    assert (again.captured.root, again.captured.totals.changed_files) == (shot.captured.root, 0)


def test_progress_and_totals(site: Site) -> None:
    """Counters follow, for new and for unchanged files."""
    for number in range(10):
        site.write(f"d/{number}", noise(1000, number))
    first, second = site.capture(), site.capture()
    for shot in (first, second):
        assert (shot.progress.files, shot.progress.bytes, shot.progress.current) == (10, 10_000, "d")
        totals = shot.captured.totals
        assert (totals.files, totals.directories, totals.others, totals.bytes) == (10, 2, 0, 10_000)
    assert (first.captured.totals.changed_files, first.captured.totals.read_bytes) == (10, 10_000)
    assert (second.captured.totals.changed_files, second.captured.totals.read_bytes) == (0, 0)
