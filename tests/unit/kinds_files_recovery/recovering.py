"""Checkpoints in memory, from real folders or made up, and their recovery."""

from __future__ import annotations

import fcntl
import os
import random
import stat
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged
from knowngood.core.ids import Name
from knowngood.core.instants import SECOND
from knowngood.core.model import Checkpoint, ComponentSpec, Totals
from knowngood.core.ports import CaptureContext, Recovered, RecoveryPlan, RecoveryRequest
from knowngood.core.progress import Progress
from knowngood.kinds.files import FilesKind
from knowngood.kinds.files.recovery.recover import materialize, plan_recovery
from knowngood.seal.chunker import ChunkSizes
from knowngood.testing.memory import MemoryPages, MemorySink, MemoryVault
from knowngood.tree.block import ROW, Block, BlockWriter, Content, Entry, Extra
from knowngood.tree.build import TreeBuilder
from knowngood.tree.read import TreeReader

SMALL_CHUNKS = ChunkSizes(16 << 10, 16 << 10, 128 << 10)
OLD = 1_500_000_000 * SECOND
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service, effective
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 6, 0xFFFFFFFF), (2, 7, 1234), (4, 4, 0xFFFFFFFF), (0x10, 7, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF))
)


@dataclass
class Pages(MemoryPages):
    """A page source that counts, and can be told to give damaged chunks and pages."""

    vault: MemoryVault
    chunks: list[Name] = field(default_factory=list)
    damaged: set[bytes] = field(default_factory=set)
    before_chunk: Callable[[Name], None] | None = None

    def __post_init__(self) -> None:
        super().__init__(self.vault)

    def chunk(self, name: Name) -> Buffer:
        """Content of a chunk."""
        self.chunks.append(name)
        if self.before_chunk:
            self.before_chunk(name)
        if name in self.damaged:
            raise Damaged(f"chunk {name.hex()[:8]} is damaged")
        return super().chunk(name)

    def page(self, name: Name) -> tuple[bytes, bytes]:
        """References and body of a page."""
        if name in self.damaged:
            raise Damaged(f"page {name.hex()[:8]} is damaged")
        return super().page(name)


@dataclass
class Kept:
    """A checkpoint and where its content is."""

    checkpoint: Checkpoint
    pages: Pages

    @property
    def reader(self) -> TreeReader:
        """Its tree."""
        return TreeReader(Name(self.checkpoint.root), self.pages.page)

    def entry(self, path: str | bytes) -> Entry:
        """One of its entries."""
        return self.reader.lookup(os.fsencode(path))

    def plan(self, target: Path | str, *paths: str, delete_extra: bool = False, **more: object) -> RecoveryPlan:
        """Plan a recovery."""
        request = RecoveryRequest(self.checkpoint, str(target), paths, delete_extra, **more)  # pyright: ignore[reportArgumentType]
        return plan_recovery(request, self.pages, Progress())

    def recover(self, target: Path | str, *paths: str, delete_extra: bool = False, **more: object) -> Recovered:
        """Plan a recovery and carry it out."""
        return self.carry_out(self.plan(target, *paths, delete_extra=delete_extra, **more))

    def carry_out(self, plan: RecoveryPlan) -> Recovered:
        """Carry out a plan."""
        self.pages.chunks.clear()
        return materialize(plan, self.pages, Progress())


def capture(source: Path, vault: MemoryVault | None = None, *, settled: bool = True) -> Kept:
    """Make a checkpoint of a real folder or file. `settled`: its files count as older than the capture."""
    vault = vault or MemoryVault()
    sink = MemorySink(vault, SMALL_CHUNKS)
    state = source.parent / f".state-{time.monotonic_ns()}"
    context = CaptureContext(sink, str(state), frozenset(), Progress(), bytes(16))
    component = ComponentSpec(name="web", kind="files", path=str(source))
    captured = FilesKind().checkpoint(component, context)
    assert captured.problems == []
    sink.flush()
    for path in state.iterdir():
        path.unlink()
    state.rmdir()
    started = time.time_ns() + (10 * SECOND if settled else -10 * SECOND)
    return Kept(_checkpoint(captured.root, str(source), started, captured.totals), Pages(vault))


def _checkpoint(root: bytes, source: str, started_ns: int, totals: Totals) -> Checkpoint:
    return Checkpoint(
        id=bytes(16),
        timeline=bytes(16),
        root=root,
        component="web",
        kind="files",
        source=source,
        host="here",
        capture="scan",
        started_ns=started_ns,
        finished_ns=started_ns,
        totals=totals,
    )


def made(*blocks: Block, source: str = "/srv/web") -> Kept:
    """A checkpoint of blocks that were made up."""
    vault = MemoryVault()
    sink = MemorySink(vault)
    builder = TreeBuilder(sink.page)
    for block in blocks:
        builder.add(block)
    root = builder.finish()
    sink.flush()
    return Kept(_checkpoint(root, source, 0, Totals()), Pages(vault))


def block(directory: bytes, *entries: tuple[bytes, int, bytes]) -> Block:
    """A block of (name, mode, inline content): files, folders, symlinks."""
    writer = BlockWriter(directory, 0)
    for number, (name, mode, content) in enumerate(entries):
        links = 0 if stat.S_ISDIR(mode) else 1
        row = ROW.pack(mode, os.getuid(), os.getgid(), links, len(content), OLD, OLD, 1000 + number)
        writer.add(name, row, Content.INLINE if content else Content.NONE, inline=content)
    return writer.block()


ROOT = (b".", stat.S_IFDIR | 0o755, b"")
FILE = stat.S_IFREG | 0o644
FOLDER = stat.S_IFDIR | 0o755
SYMLINK = stat.S_IFLNK | 0o777


def sized(name: bytes, size: int, extra: Extra, refs: bytes, content: Content) -> Block:
    """A root block with one file of this size, content and extra."""
    writer = BlockWriter(b"", 0)
    writer.add(ROOT[0], ROW.pack(ROOT[1], 0, 0, 0, 0, OLD, OLD, 1), Content.NONE)
    row = ROW.pack(FILE, os.getuid(), os.getgid(), 1, size, OLD, OLD, 2)
    writer.add(name, row, content, refs, extra=extra)
    return writer.block()


def set_flags(path: Path | bytes, flags: int, above: int | None = None) -> None:
    """Set the file flags that chattr sets. Raises OSError where there are none."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=above)
    try:
        have = bytearray(8)
        fcntl.ioctl(fd, 0x80086601, have)
        value = int.from_bytes(have[:4], "little") & ~0x228184FF | flags
        fcntl.ioctl(fd, 0x40086602, value.to_bytes(4, "little") + bytes(4))
    finally:
        os.close(fd)


def unlock(folder: Path) -> None:
    """Take away the flags that would keep a folder from being deleted."""
    for _, _, names, fd in os.fwalk(os.fsencode(folder)):
        for name in (b".", *names):
            if stat.S_IFMT(os.lstat(name, dir_fd=fd).st_mode) in (stat.S_IFREG, stat.S_IFDIR):
                with suppress(OSError):
                    set_flags(name, 0, fd)


def age(root: Path) -> None:
    """Give everything below a folder, and itself, an old time of its own, with odd nanoseconds."""
    number = 0
    for above, folders, names in os.walk(root, topdown=False):
        for name in (*names, *folders):
            number += 1
            when = OLD + number * 1_000_000_007
            os.utime(os.path.join(above, name), ns=(when, when), follow_symlinks=False)
    os.utime(root, ns=(OLD, OLD))


def text(seed: int, size: int) -> bytes:
    """Bytes that look different for each seed and do not repeat within a chunk."""
    return random.Random(seed).randbytes(size)


def make_plain_zoo(root: Path) -> None:
    """One of everything that any user can make."""
    root.mkdir()
    (root / "empty").touch()
    (root / "inline").write_bytes(b"hello")
    (root / "small").write_bytes(text(1, 3000))
    (root / "several chunks").write_bytes(text(2, 300_000))
    (root / "large").write_bytes(text(3, 9_000_000))
    (root / "folder" / "below" / "deep").mkdir(parents=True)
    (root / "folder" / "empty folder").mkdir()
    (root / "folder" / "file").write_bytes(text(4, 100))
    (root / "folder" / "below" / "deep" / "file").write_bytes(text(5, 2000))
    _odd_names(root / "names")
    _sparse_files(root / "sparse")
    _links(root)
    os.mkfifo(root / "pipe", 0o640)
    os.mknod(root / "socket", stat.S_IFSOCK | 0o755)
    (root / "folder" / "below").chmod(0o711)
    (root / "small").chmod(0o600)
    (root / "inline").chmod(0o4755)
    with suppress(OSError):
        os.setxattr(root / "small", "user.comment", b"kept\0as it is")
        os.setxattr(root / "folder", "user.on-a-folder", b"x" * 300)


def _odd_names(folder: Path) -> None:
    folder.mkdir()
    for name in (b"new\nline", b"\xff\xfe not text", b"x" * 255, b"-rf *", b"...", "ü€".encode(), b" ", b"*.[a]?"):
        (folder / os.fsdecode(name)).write_bytes(name)
    (folder / os.fsdecode(b"\xc3(")).mkdir()
    (folder / os.fsdecode(b"\xc3(") / "file").write_bytes(b"below")


def _sparse_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "all hole").touch()
    os.truncate(folder / "all hole", 10_000_000)
    for name, size, parts in (
        ("hole at the end", 3_000_000, [(0, 70_000)]),
        ("hole first", 3_000_000, [(2_932_736, 67_264)]),
        ("islands", 40_000_000, [(1 << 20, 40_000), (9 << 20, 600_000), (30 << 20, 5)]),
    ):
        with (folder / name).open("wb") as file:
            file.truncate(size)
            for offset, length in parts:
                file.seek(offset)
                file.write(text(offset, length))


def _links(root: Path) -> None:
    (root / "linked").write_bytes(text(6, 5000))
    os.link(root / "linked", root / "linked too")
    os.link(root / "linked", root / "folder" / "linked from below")
    os.link(root / "large", root / "folder" / "large again")
    os.symlink("folder/file", root / "symlink")
    os.symlink(b"/nowhere/\xff", root / "dangling")
    os.link(root / "dangling", root / "dangling too", follow_symlinks=False)


def make_zoo(root: Path) -> None:
    """One of everything, with what only root can make."""
    make_plain_zoo(root)
    os.mknod(root / "character device", stat.S_IFCHR | 0o620, os.makedev(1, 3))
    os.mknod(root / "block device", stat.S_IFBLK | 0o660, os.makedev(250, 70_000))
    for number, path in enumerate(sorted(root.rglob("*"))):
        os.chown(path, 1000 + number, 2000 + number, follow_symlinks=False)
    os.chown(root, 77, 78)
    (root / "several chunks").chmod(0o6755)
    (root / "folder").chmod(0o2775)
    os.setxattr(root / "several chunks", "security.capability", CAPABILITY)
    os.setxattr(root / "small", "system.posix_acl_access", ACL)
    os.setxattr(root / "folder", "system.posix_acl_default", ACL)
    os.setxattr(root / "symlink", "trusted.on-a-symlink", b"1", follow_symlinks=False)
    os.setxattr(root / "pipe", "trusted.on-a-pipe", b"2")
    age(root)
    set_flags(root / "inline", 0x10)  # immutable
    set_flags(root / "linked", 0x20)  # append only
    set_flags(root / "folder" / "below", 0x40 | 0x80)
    set_flags(root / "folder" / "empty folder", 0x10)
