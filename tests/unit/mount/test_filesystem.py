"""What the kernel is answered, request by request."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from knowngood.core.errors import Damaged
from knowngood.core.ids import Name
from knowngood.core.model import Point
from knowngood.doors.mount.filesystem import FileSystem
from knowngood.doors.mount.moments import LATEST
from knowngood.doors.mount.shelf import Shelf
from knowngood.testing.vaults import SmallVault
from knowngood.wire.fuse.opcodes import ROOT_NODE, Opcode
from tests.unit.mount.kernel import Kernel, beside, fails

ROOT = (b"shop", b"data", LATEST)


def test_attributes_are_those_of_the_file(kernel: Kernel, data: Path) -> None:
    """Exactly; and the kernel may keep them."""
    for name in ("file", "tiny", "sparse", "link"):
        there, (_, valid, shown) = (data / name).lstat(), kernel.look(*ROOT, name.encode())
        assert (shown.mode, shown.size, shown.links) == (there.st_mode, there.st_size, there.st_nlink)
        assert (shown.uid, shown.gid, shown.rdev) == (there.st_uid, there.st_gid, there.st_rdev)
        assert shown.mtime * 10**9 + shown.mtime_nanos == there.st_mtime_ns
        assert shown.ctime * 10**9 + shown.ctime_nanos == there.st_ctime_ns
        assert valid > 3600
    found = kernel.look(*ROOT, b"sparse")
    assert found.stat.blocks == 8
    assert kernel.stat(found.node) == found.stat
    assert kernel.look(*ROOT).stat.mode == data.stat().st_mode
    assert kernel.look(*ROOT).entry_valid == 1


@pytest.mark.usefixtures("impatient")
def test_hard_links_and_nothing_else_share_a_number(
    kernel: Kernel, shelf: Shelf, data: Path, point: Callable[..., Point]
) -> None:
    """Also not the same file at another moment: `diff` would not look into it."""

    def inode(*names: bytes) -> int:
        return beside(shelf, lambda: kernel.look(*ROOT, *names).stat.inode)

    first = inode(b"file")
    assert inode(b"sub", b"same") == first
    others = [inode(name) for name in (b"tiny", b"sub", b"link")]
    (data / "new").touch()
    point()
    later = inode(b"file")
    assert len({first, later, *others}) == 5


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("size", [160, 4096])
def test_directories_in_parts(kernel: Kernel, files: FileSystem, data: Path, plus: bool, size: int) -> None:
    """Every name once, in whatever pieces; what is listed can be used without being looked up."""
    root = kernel.look(*ROOT).node
    if plus:
        size += 40
    listed = kernel.list(root, size=size, plus=plus)
    assert [each.name for each in listed[:2]] == [b".", b".."]
    assert {each.name.decode() for each in listed[2:]} == set(os.listdir(data))
    for each in listed[2:]:
        there = (data / os.fsdecode(each.name)).lstat()
        assert each.kind == stat.S_IFMT(there.st_mode)
        node = each.node if plus else kernel.look(each.name, node=root).node
        assert kernel.stat(node).size == (0 if stat.S_ISDIR(there.st_mode) else there.st_size)
        assert kernel.stat(node).inode == each.inode
    assert kernel.list(kernel.look(b"sub", node=root).node)[2].name == b"same"


def test_content(kernel: Kernel) -> None:
    """From anywhere, in any length; holes are zeros; symlinks lead somewhere."""
    node = kernel.look(*ROOT, b"file").node
    assert kernel.read(node) == b"content " * 1000
    assert kernel.read(node, 7990, 100) == (b"content " * 1000)[7990:]
    assert kernel.read(node, 9000) == b""
    assert kernel.read(kernel.look(*ROOT, b"tiny").node, 1, 2) == b"in"
    sparse = kernel.look(*ROOT, b"sparse").node
    assert kernel.read(sparse, (512 << 10) - 2, 5) == b"\0\0xxx"
    assert kernel.ask(Opcode.READLINK, kernel.look(*ROOT, b"link").node) == b"sub/same"
    assert fails(errno.EINVAL, lambda: kernel.ask(Opcode.READLINK, node))
    for whence, expected in ((os.SEEK_DATA, 512 << 10), (os.SEEK_HOLE, 0)):
        answer = kernel.ask(Opcode.LSEEK, sparse, struct.pack("=QQII", 0, 0, whence, 0))
        assert struct.unpack("=Q", answer) == (expected,)
    assert fails(errno.ENXIO, lambda: kernel.ask(Opcode.LSEEK, sparse, struct.pack("=QQII", 0, 1 << 20, 3, 0)))


def test_the_directories_above(kernel: Kernel, shelf: Shelf) -> None:
    """Services, components, moments; nobody can write there, and nothing is called so by chance."""
    for names, below in (((), [b"shop"]), ((b"shop",), [b"data"])):
        node = kernel.look(*names).node if names else ROOT_NODE
        assert [each.name for each in kernel.list(node, plus=True)] == [b".", b"..", *below]
        assert kernel.stat(node).mode == stat.S_IFDIR | 0o555
    *_, dated, latest = kernel.list(kernel.look(b"shop", b"data").node, size=64)
    assert latest.name == LATEST
    assert kernel.look(b"shop", b"data", dated.name).stat.inode == kernel.look(*ROOT).stat.inode
    assert kernel.look(b"shop", b"data", dated.name).node != kernel.look(*ROOT).node
    for names in ((b"mail",), (b"shop", b"other"), (*ROOT, b"no such"), (*ROOT, b"file", b"x"), (*ROOT, b".")):
        assert not kernel.has(*names)
    assert not beside(shelf, lambda: kernel.has(b"shop", b"data", b"no moment \xff"))
    assert not beside(shelf, lambda: kernel.has(b"shop", b"data", b"2001-01-01"))
    assert beside(shelf, lambda: kernel.has(b"shop", b"data", b"-0s"))


def test_what_was_forgotten_takes_no_memory(kernel: Kernel, files: FileSystem, shelf: Shelf) -> None:
    """Trees are closed with their last node, and opened again when somebody comes."""
    for name in (b"now", b"-0s", LATEST):
        beside(shelf, lambda name=name: kernel.look(b"shop", b"data", name, b"sub", b"same"))
        kernel.list(kernel.look(b"shop", b"data", LATEST).node, plus=True)
    assert len(files.nodes) == 3
    stale = kernel.look(*ROOT, b"file").node
    kernel.forget_all()
    assert len(files.nodes) == 0
    assert fails(errno.ESTALE, lambda: kernel.read(stale))
    assert fails(errno.ESTALE, lambda: kernel.stat(77))
    assert kernel.read(kernel.look(*ROOT, b"tiny").node) == b"tiny"
    assert len(files.nodes) == 1


def test_what_is_not_done(kernel: Kernel) -> None:
    """Files need no opening, so the kernel is told not to ask; and nothing changes."""
    node = kernel.look(*ROOT, b"file").node
    for opcode, body in ((Opcode.OPEN, bytes(8)), (Opcode.FLUSH, bytes(24)), (Opcode.INTERRUPT, bytes(8)), (4711, b"")):
        assert fails(errno.ENOSYS, lambda opcode=opcode, body=body: kernel.ask(opcode, node, body))
    for opcode, body in ((Opcode.UNLINK, b"x\0"), (Opcode.WRITE, bytes(40)), (Opcode.MKDIR, bytes(8) + b"x\0")):
        assert fails(errno.EROFS, lambda opcode=opcode, body=body: kernel.ask(opcode, node, body))
    for opcode, body in ((Opcode.ACCESS, bytes(8)), (Opcode.DESTROY, b"")):
        assert kernel.ask(opcode, ROOT_NODE, body) == b""
    assert len(kernel.ask(Opcode.STATFS, ROOT_NODE)) == 80
    assert fails(errno.EBADF, lambda: kernel.ask(Opcode.READDIR, ROOT_NODE, bytes(40)))


@pytest.mark.root
@pytest.mark.usefixtures("impatient")
def test_attributes_beside_the_content(
    kernel: Kernel, files: FileSystem, shelf: Shelf, data: Path, point: Callable[..., Point]
) -> None:
    """Values, lists, lengths; those for root are for root."""
    (data / "marked").touch()
    os.setxattr(data / "marked", "user.k", b"value")
    os.setxattr(data / "marked", "trusted.t", b"secret")
    point()
    node = beside(shelf, lambda: kernel.look(*ROOT, b"marked").node)

    def ask(size: int, name: bytes) -> bytes:
        return kernel.ask(Opcode.GETXATTR, node, struct.pack("=II", size, 0) + name + b"\0")

    for who, expected in ((kernel, b"trusted.t\0user.k\0"), (Kernel(files, uid=1000), b"user.k\0")):
        assert who.ask(Opcode.LISTXATTR, node, struct.pack("=II", 500, 0)) == expected
    assert ask(0, b"user.k") == struct.pack("=II", 5, 0)
    assert ask(5, b"user.k") == b"value"
    assert fails(errno.ERANGE, lambda: ask(4, b"user.k"))
    assert fails(errno.ENODATA, lambda: ask(9, b"user.none"))


def test_damage_stops_one_file_only(
    kernel: Kernel, shelf: Shelf, troubles: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told where and why; the rest stays as it is."""
    node = kernel.look(*ROOT, b"file").node

    def chunk(_: Name) -> bytes:
        raise Damaged("a chunk is damaged")

    with monkeypatch.context() as harmed:
        harmed.setattr(shelf, "chunk", chunk)
        assert fails(errno.EIO, lambda: kernel.read(node))
        harmed.setattr(shelf, "chunk", lambda _: b"too short")
        assert fails(errno.EIO, lambda: kernel.read(node))
    assert [path for path, _ in troubles] == ["shop/data/latest/file"] * 2
    assert troubles[0][1] == "a chunk is damaged"
    assert kernel.read(kernel.look(*ROOT, b"tiny").node) == b"tiny"
    assert kernel.read(node) == b"content " * 1000


@pytest.mark.usefixtures("impatient")
def test_trees_that_say_nothing_of_their_root(vault: SmallVault, shelf: Shelf, kernel: Kernel) -> None:
    """Everybody may look into them; names that no system makes are left out."""
    vault.protect({b"a": b"1", b"..": b"2", b"sub/x": b"3"}, "odd")
    root = beside(shelf, lambda: kernel.look(b"odd", b"c", LATEST))
    assert root.stat.mode == stat.S_IFDIR | 0o555
    assert [each.name for each in kernel.list(root.node)] == [b".", b"..", b"a"]
