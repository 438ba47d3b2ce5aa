"""What kernels, servers and programs of others send."""

from __future__ import annotations

import io
import struct
import zlib

from knowngood.core.errors import KnowngoodError
from knowngood.wire import binlog, extents, fanotify, inotify, pglog, resp, ustar, wal, walsender, xbstream
from knowngood.wire.fuse.requests import Malformed, parse as parse_fuse
from tests.fuzz.target import Target
from tests.property.test_fuse_wire import GOLDEN

_HISTORY = pglog.History(7, 1, 1 << 20)


def _fanotify_event() -> bytes:
    handle = struct.pack("<Ii", 8, 1) + bytes(8)
    info = struct.pack("<BBH8s", 2, 0, 12 + len(handle) + 8, bytes(8)) + handle + b"name\0\0\0\0"
    return struct.pack("<IBBHQii", 24 + len(info), 3, 0, 24, 0x100, -1, 1) + info


def _inotify_event() -> bytes:
    return struct.pack("iIII", 1, 0x100, 0, 16) + b"name".ljust(16, b"\0")


def _binlog_event(kind: int, body: bytes, after: int) -> bytes:
    head = struct.pack("<IBIIIH", 0, kind, 1, 19 + len(body) + 4, after, 0)
    return head + body + struct.pack("<I", zlib.crc32(head + body))


def _binlog(data: bytes) -> None:
    chain = binlog.Chain(binlog.Place("binlog.000001", 4), checksums=True)
    at = 0
    while at < len(data):
        length = struct.unpack_from("<I", data.ljust(at + 13, b"\0"), at + 9)[0] if data[at + 9 :] else 0
        chain.feed(data[at : at + max(length, 1)])
        at += max(length, 1)


def _xbstream() -> bytes:
    def chunk(path: bytes, data: bytes, offset: int) -> bytes:
        head = struct.pack("<8sBcI", b"XBSTCK01", 0, b"P", len(path)) + path
        return head + struct.pack("<QQI", len(data), offset, zlib.crc32(data)) + data

    end = struct.pack("<8sBcI", b"XBSTCK01", 0, b"E", 4) + b"./ab"
    return chunk(b"./ab", b"x" * 100, 0) + chunk(b"./ab", b"y" * 50, 100) + end


def _ustar() -> bytes:
    block = bytearray(512)
    block[:4] = b"a/b\0"
    block[100:108], block[124:136], block[136:148] = b"0000644\0", b"00000000144\0", b"00000000001\0"
    block[156:157], block[257:265] = b"0", b"ustar\x0000"
    return _ustar_mended(bytes(block))


def _ustar_mended(data: bytes) -> bytes:
    if len(data) < 512:
        return data
    total = sum(data[:512]) - sum(data[148:156]) + 8 * 32
    return data[:148] + b"%06o\0 " % (total % (1 << 18)) + data[156:]


def _pg_log() -> bytes:
    page = struct.pack("<HHIQI4x", 0xD113, 2, 1, 0, 0) + struct.pack("<QII", 7, 1 << 20, 8192)
    return page.ljust(8192, b"\1") + struct.pack("<HHIQI4x", 0xD113, 0, 1, 8192, 0).ljust(8192, b"\1")


def _replies(data: bytes) -> None:
    found = resp.Replies()
    for at in range(0, len(data), 7):
        found.feed(data[at : at + 7])
        while found.next() is not None:
            pass


def _wal(data: bytes) -> None:
    wal.parse_header(data[: wal.HEADER])
    wal.parse_index(data[: wal.INDEX])
    if len(data) >= wal.FRAME:
        wal.parse_frame(data)


def _btrfs(data: bytes) -> None:
    extents.search_count(data[: extents.SEARCH_KEY.size].ljust(extents.SEARCH_KEY.size, b"\0"))
    found = [each for _, each in extents.searched_extents(memoryview(data), 3) if each]
    found.sort(key=lambda each: each[:2])
    extents.differing(found, found[::2], 1 << 40)


_ITEM = struct.pack("=QQQII", 1, 257, 0, 108, 53) + struct.pack(
    "<QQBBHBQQQQ", 1, 4096, 0, 0, 0, 1, 1 << 20, 4096, 0, 4096
)
_WAL = struct.pack(">8I", 0x377F0682, 3007000, 4096, 0, 1, 2, 3, 4) + struct.pack(">6I", 1, 1, 1, 2, 3, 4) + bytes(200)
_RESP = b"*3\r\n$3\r\nabc\r\n:5\r\n*1\r\n+OK\r\n-ERR no\r\n$-1\r\n"
_STREAM = [struct.pack(">cQQq", b"w", 8192, 8192, 1) + b"data", struct.pack(">cQqB", b"k", 8192, 1, 1)]

_FIEMAP = b"".join(struct.pack("=QQQ16xI12x", at << 12, 1 << 20, 4096, at) for at in range(2))

WIRE = [
    Target("fanotify", [_fanotify_event() * 3], fanotify.parse),
    Target("inotify", [_inotify_event() * 3], inotify.parse),
    Target("fuse", GOLDEN, lambda data: parse_fuse(memoryview(data), 0), (Malformed,)),
    Target("binlog", [_binlog_event(2, b"\1" * 30, 57), _binlog_event(4, bytes(8) + b"binlog.000002", 0)], _binlog),
    Target("xbstream", [_xbstream()], lambda data: list(xbstream.chunks(io.BytesIO(data).read))),
    Target("ustar", [_ustar()], ustar.parse, mend=_ustar_mended),
    Target("pglog", [_pg_log()], lambda data: pglog.Chain(_HISTORY, 0).feed(data)),
    Target("walsender", _STREAM, walsender.parse),
    Target("archive", [b"nbase.tar\0/space\0"], walsender.parse_archive),
    Target("resp", [_RESP, b"*2\r\n*2\r\n*0\r\n:1\r\n$0\r\n\r\n"], _replies),
    Target("wal", [_WAL], _wal),
    Target("fiemap", [_FIEMAP], lambda data: extents.fiemap_extents(data, 2)),
    Target("btrfs", [_ITEM * 3], _btrfs, (KnowngoodError,)),
    Target("lsn", [b"16/B374D848"], lambda data: pglog.parse_lsn(data.decode("latin1"))),
]
