"""A tree of every shape that format 1 has, what it must look like once it is restored, and how to compare."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blake3 import blake3

from knowngood.core.ids import Name
from knowngood.core.ports import ChunkSink
from knowngood.tree.block import ROW, BlockWriter, Content, Extra
from knowngood.tree.build import TreeBuilder, ends_block
from knowngood.tree.page import encode_list
from tests.format.reference import input_bytes

DAY = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Shape:
    """One thing in the tree. `content` is a file's whole content, holes as zeros, or a symlink's target."""

    path: bytes
    mode: int
    content: bytes = b""
    how: Content = Content.NONE
    extents: tuple[tuple[int, int], ...] = ()
    mtime_ns: int = 1_700_000_000_123_456_789
    owner: tuple[int, int] = (1234, 5678)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    flags: int = 0
    rdev: int = 0
    inode: int = 0
    links: int = 1


def _sparse() -> bytes:
    data = input_bytes(700)
    return bytes(4096) + data[:600] + bytes(10_000) + data[600:] + bytes(3000)


def shapes() -> list[Shape]:
    """Every shape."""
    file, big = stat.S_IFREG | 0o644, input_bytes(5000)
    found = [
        Shape(b".", stat.S_IFDIR | 0o755, xattrs=((b"user.root", b"yes"),)),
        Shape(b"!before the dot", file, b"tiny", Content.INLINE),
        Shape(b"empty", file),
        Shape(b"one chunk", file | 0o4000, big[:900], Content.CHUNK, owner=(0, 0)),
        Shape(b"several chunks", file, big, Content.CHUNKS, mtime_ns=-5 * DAY + 1),
        Shape(b"listed chunks", file, big[::-1], Content.LIST, xattrs=((b"user.a", b"1"), (b"user.b", big[:300]))),
        Shape(b"sparse", file, _sparse(), Content.CHUNKS, ((4096, 600), (14696, 100))),
        Shape(b"all hole", file, bytes(50_000), Content.NONE, ((0, 0),)),
        Shape(b"link 1", file, big[:300], Content.CHUNK, inode=77, links=2),
        Shape(b"dir", stat.S_IFDIR | 0o1700, mtime_ns=DAY),
        Shape(b"dir/link 2", file, big[:300], Content.CHUNK, inode=77, links=2),
        Shape(b"dir/empty dir", stat.S_IFDIR | 0o500, mtime_ns=2 * DAY),
        Shape(b"dir/deep", stat.S_IFDIR | 0o755),
        Shape(b"dir/deep/down", stat.S_IFDIR | 0o755),
        Shape(b"dir/deep/down/no text \xff\xfe", file, b"\0" * 128, Content.INLINE),
        Shape(b"dir-beside", stat.S_IFDIR | 0o755),
        Shape(b"dir-beside/file", stat.S_IFREG | 0o400, b"x", Content.INLINE),
        Shape(b"symlink", stat.S_IFLNK | 0o777, b"dir/../empty", Content.INLINE, mtime_ns=3 * DAY),
        Shape(b"broken symlink", stat.S_IFLNK | 0o777, b"/nowhere/\xff", Content.INLINE),
        Shape(b"pipe", stat.S_IFIFO | 0o600),
        Shape(b"socket", stat.S_IFSOCK | 0o755),
        Shape(b"device", stat.S_IFCHR | 0o600, rdev=os.makedev(1, 3)),
        Shape(b"no dump", file, b"flagged", Content.INLINE, flags=0x40),
        Shape(b"long", stat.S_IFDIR | 0o755),
    ]
    found += [Shape(b"long/%04d" % number, file, b"%d" % number, Content.INLINE) for number in range(1400)]
    return [replace(each, inode=each.inode or 1000 + at) for at, each in enumerate(found)]


# ------------------------------------------------------------------------------------------------------------ writing


def write_shapes(found: Iterable[Shape], sink: ChunkSink) -> Name:
    """The tree of some shapes; its root."""
    builder = TreeBuilder(sink.page)
    writer: BlockWriter | None = None
    for directory, name, shape in sorted(((*_place(shape.path), shape) for shape in found), key=lambda each: each[:2]):
        if writer is not None and writer.directory != directory:
            builder.add(writer.block())
            writer = None
        writer = writer or BlockWriter(directory, 0)
        _add(writer, name, shape, sink)
        if ends_block(len(writer), name) or writer.full:
            builder.add(writer.block())
            writer = None
    if writer is not None:
        builder.add(writer.block())
    return builder.finish()


def _place(path: bytes) -> tuple[bytes, bytes]:
    directory, _, name = path.rpartition(b"/")
    return directory.replace(b"/", b"\0"), name


def _add(writer: BlockWriter, name: bytes, shape: Shape, sink: ChunkSink) -> None:
    is_directory = stat.S_ISDIR(shape.mode)
    size, links = (0, 0) if is_directory else (len(shape.content), shape.links)
    row = ROW.pack(shape.mode, *shape.owner, links, size, shape.mtime_ns, shape.mtime_ns + 1, shape.inode)
    data = b"".join(shape.content[at : at + length] for at, length in shape.extents) if shape.extents else shape.content
    refs, lengths = b"", ()
    if shape.how in (Content.CHUNK, Content.CHUNKS, Content.LIST):
        step = len(data) if shape.how == Content.CHUNK else -(-len(data) // 5)
        pieces = [data[at : at + step] for at in range(0, len(data), step)]
        names = [sink.add(piece) for piece in pieces]
        refs, lengths = b"".join(names), tuple(map(len, pieces)) if len(pieces) > 1 else ()
        if shape.how == Content.LIST:
            halves = (slice(0, 2), slice(2, None))
            listed = [sink.page(*encode_list(names[half], lengths[half])) for half in halves]
            refs, lengths = b"".join(listed), tuple(sum(lengths[half]) for half in halves)
    inline = shape.content if shape.how == Content.INLINE else b""
    extents = b"".join(struct.pack("<QQ", *extent) for extent in shape.extents)
    writer.add(name, row, shape.how, refs, inline, Extra(lengths, extents, shape.xattrs, shape.flags, shape.rdev))


# ---------------------------------------------------------------------------------------------------------- comparing


def described(shape: Shape) -> dict[str, Any]:
    """What must be the same after restoring, as JSON."""
    kind = stat.S_IFMT(shape.mode)
    found: dict[str, Any] = {"mode": f"{shape.mode:o}", "owner": list(shape.owner), "mtime": shape.mtime_ns}
    if kind == stat.S_IFREG:
        found |= {"size": len(shape.content), "content": blake3(shape.content).hexdigest()}
    if kind == stat.S_IFLNK:
        found["target"] = shape.content.hex()
    if shape.rdev:
        found["rdev"] = shape.rdev
    if shape.xattrs:
        found["xattrs"] = {name.decode(): value.hex() for name, value in shape.xattrs}
    if shape.links > 1:
        found["twin"] = True
    return found


def seen(path: bytes, *, xattrs: bool = True) -> dict[str, Any]:
    """What a restored thing looks like, in the same form."""
    here = os.lstat(path)
    kind = stat.S_IFMT(here.st_mode)
    found: dict[str, Any] = {
        "mode": f"{here.st_mode:o}",
        "owner": [here.st_uid, here.st_gid],
        "mtime": here.st_mtime_ns,
    }
    if kind == stat.S_IFREG:
        found |= {"size": here.st_size, "content": blake3(Path(os.fsdecode(path)).read_bytes()).hexdigest()}
        if here.st_nlink > 1:
            found["twin"] = True
    if kind == stat.S_IFLNK:
        found["target"] = os.readlink(path).hex()
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        found["rdev"] = here.st_rdev
    if xattrs and kind in (stat.S_IFREG, stat.S_IFDIR):
        names = [name for name in os.listxattr(path) if name.startswith("user.")]
        if names:
            found["xattrs"] = {name: os.getxattr(path, name).hex() for name in sorted(names)}
    return found


def walk(top: bytes, look: Callable[[bytes], dict[str, Any]] = seen) -> dict[bytes, dict[str, Any]]:
    """Path below `top` → what is there."""
    found = {b".": look(top)}
    for folder, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, top)] = look(path)
    return found
