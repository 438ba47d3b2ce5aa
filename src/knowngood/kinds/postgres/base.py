"""The base: BASE_BACKUP streams every file of the server; each goes into the image as it comes, and is checked against
the manifest that the server sends with it ("Base Backup Manifest Format")."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO

import msgspec

from knowngood.core.errors import Damaged, NoSpace
from knowngood.core.ports import ChunkSink
from knowngood.core.progress import Progress
from knowngood.core.sizes import MIB
from knowngood.databases.image import Image
from knowngood.kinds.postgres.layout import AUTO_CONF, MANIFEST, TABLESPACES
from knowngood.kinds.postgres.link import Link, one_row, rows_of
from knowngood.wire.pglog import parse_lsn
from knowngood.wire.ustar import BLOCK, END, Member, Type, parse
from knowngood.wire.walsender import parse_archive

_COMMAND = (
    "BASE_BACKUP (LABEL 'knowngood', PROGRESS, CHECKPOINT 'fast', WAIT false, MANIFEST 'yes', "
    "MANIFEST_CHECKSUMS 'SHA256')"
)
_START_SECONDS = 3600.0  # a checkpoint comes first
_SILENT_SECONDS = 300.0
_MANIFEST_BYTES = 1 << 30
_AT_ONCE = MIB


@dataclass(slots=True)
class Base:
    """What a base turned out to be: where the log that it needs begins, and where it is whole."""

    start: int
    end: int
    size: int
    auto_conf: bytes
    paths: set[bytes] = field(default_factory=set[bytes])


def take_base(link: Link, image: Image, sink: ChunkSink, progress: Progress) -> Base:
    """Have the server send a base into an image. Raises Damaged when what came is not what was sent."""
    link.send(_COMMAND)
    start = parse_lsn(one_row(_result(link, _START_SECONDS), 2)[0])
    spaces = _result(link, _SILENT_SECONDS)
    progress.total_bytes = sum(int(row[2] or 0) for row in spaces) * 1024
    progress.enter("reading a base of PostgreSQL")
    if link.result(_SILENT_SECONDS) is None:
        raise Damaged("the server sends no base")
    into = _Intake(image, sink, progress, {row[1] or "": row[0] or "" for row in spaces})
    for name, location, stream in _archives(link):
        if name == "":
            into.manifest(stream)
        else:
            into.archive(location, stream)
    end = parse_lsn(one_row(_result(link, _SILENT_SECONDS), 1)[0])
    while link.result(_SILENT_SECONDS) is not None:
        pass
    into.finish()
    return Base(start, end, into.bytes, into.auto_conf, set(into.sums))


def _result(link: Link, seconds: float) -> list[tuple[str | None, ...]]:
    found = link.result(seconds)
    while found is not None and not found.nfields:  # what only says that a command is done
        found = link.result(seconds)
    return rows_of(found) if found is not None else []


class _Stream:
    """The bytes of one archive, or of the manifest."""

    def __init__(self, receive: Callable[[], bytes | None]) -> None:
        self._receive = receive
        self._data = memoryview(b"")
        self._over = False

    def read(self, most: int) -> bytes:
        """The next bytes; b"" at the end."""
        while not self._data and not self._over:
            data = self._receive()
            self._data, self._over = memoryview(data or b""), data is None
        part, self._data = self._data[:most], self._data[most:]
        return bytes(part)

    def exactly(self, count: int) -> bytes:
        """So many bytes. Raises Damaged when there are fewer."""
        parts: list[bytes] = []
        while count:
            part = self.read(count)
            if not part:
                raise Damaged("an archive of the server ends too early")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def _archives(link: Link) -> Iterator[tuple[str, str, _Stream]]:
    """Name, location and content of each archive; the name of the manifest is empty."""
    heads: list[bytes] = []

    def receive() -> bytes | None:
        while (message := link.copied(_SILENT_SECONDS)) is not None:
            if message[:1] == b"d":
                return message[1:]
            if message[:1] in b"nm":
                heads.append(message)
                return None
        heads.append(b"")
        return None

    if receive() is not None:
        raise Damaged("the server does not begin an archive of its base as PostgreSQL does")
    while head := heads.pop():
        stream = _Stream(receive)
        if head[:1] == b"m":
            yield "", "", stream
        else:
            archive = parse_archive(head)
            yield archive.name, archive.location, stream
        while stream.read(_AT_ONCE):  # to its end
            pass


class _Intake:
    """Puts archives into an image."""

    def __init__(self, image: Image, sink: ChunkSink, progress: Progress, spaces: dict[str, str]) -> None:
        self._image = image
        self._sink = sink
        self._progress = progress
        self._spaces = spaces
        self._claimed: dict[bytes, bytes] | None = None
        self.sums: dict[bytes, bytes] = {}
        self.bytes = 0
        self.auto_conf = b""

    def archive(self, location: str, stream: _Stream) -> None:
        """One tar archive: of the data folder, or of a tablespace, which becomes a folder in it."""
        prefix = b""
        if location:
            space = self._spaces.get(location, "")
            if not space.isdigit():
                raise Damaged("the server sends a tablespace that it did not announce")
            prefix = TABLESPACES + space.encode() + b"/"
            self._image.folder(prefix[:-1], 0)
        while (block := stream.exactly(BLOCK)) != END:
            member = parse(block)
            if member.path:
                self._member(prefix + member.path, member, stream)

    def _member(self, path: bytes, member: Member, stream: _Stream) -> None:
        if member.type is Type.FOLDER:
            self._image.folder(path, member.mtime * 10**9, member.mode)
        elif member.type is Type.LINK:
            if not path.startswith(TABLESPACES):  # those come as archives of their own
                self._image.folder(path, member.mtime * 10**9)  # the log on another disk: here it is a folder
        else:
            self._file(path, member, stream)

    def _file(self, path: bytes, member: Member, stream: _Stream) -> None:
        summed, left, kept = hashlib.sha256(), member.size, path == AUTO_CONF
        parts: list[bytes] = []

        def read(most: int) -> bytes:
            nonlocal left
            data = stream.read(min(most, left))
            if left and not data:
                raise Damaged("an archive of the server ends too early")
            left -= len(data)
            summed.update(data)
            if kept:
                parts.append(data)
            self._progress.bytes += len(data)
            return data

        if kept:  # what knowngood adds goes behind it
            while read(_AT_ONCE):
                pass
            self.auto_conf = b"".join(parts)
        else:
            self._image.add(self._sink, path, read, member.mtime * 10**9, member.mode)
        stream.exactly(member.padding)
        self.sums[path] = summed.digest()
        self.bytes += member.size
        self._progress.files += 1

    def manifest(self, stream: _Stream) -> None:
        """What the server says that it has sent."""
        parts: list[bytes] = []
        while part := stream.read(_AT_ONCE):
            parts.append(part)
            if sum(map(len, parts)) > _MANIFEST_BYTES:
                raise NoSpace("the manifest of the server's base is too large")
        data = b"".join(parts)
        self._claimed = claimed(data)
        self._image.add(self._sink, MANIFEST, BytesIO(data).read, 0)

    def finish(self) -> None:
        """Compare what came with what was sent. Raises Damaged."""
        if self._claimed is None:
            raise Damaged("the server sent no manifest of its base")
        for path in self._claimed.keys() | self.sums.keys():
            if self._claimed.get(path) != self.sums.get(path):
                name = path.decode(errors="replace")
                raise Damaged(f"the base that came is not the one that was sent: '{name}'", hint="try again")


class _File(msgspec.Struct, rename={"path": "Path", "encoded": "Encoded-Path", "sum": "Checksum"}):
    sum: str
    path: str = ""
    encoded: str = ""


class _Manifest(msgspec.Struct, rename={"files": "Files", "version": "PostgreSQL-Backup-Manifest-Version"}):
    version: int
    files: list[_File]


_OWN_SUM = re.compile(rb'\n"Manifest-Checksum": "([0-9a-f]{64})"\}\n\Z')


def claimed(data: bytes) -> dict[bytes, bytes]:
    """The SHA-256 of every file that a manifest lists. Raises Damaged when it is not whole."""
    own = _OWN_SUM.search(data)
    if own is None or hashlib.sha256(data[: own.start() + 1]).hexdigest().encode() != own[1]:
        raise Damaged("the manifest of the server's base is not whole", hint="try again")
    try:
        files = msgspec.json.decode(data, type=_Manifest).files
        return {bytes.fromhex(each.encoded) or each.path.encode(): bytes.fromhex(each.sum) for each in files}
    except (msgspec.MsgspecError, ValueError):
        raise Damaged("the manifest of the server's base cannot be read") from None
