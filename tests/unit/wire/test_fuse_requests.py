"""Requests of the kernel: messages that one has really sent, and those that none sends."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest

from knowngood.wire.fuse.bodies import BatchForget, Body, Raw, Rename, SetXattr, Write
from knowngood.wire.fuse.opcodes import InitFlag, Opcode
from knowngood.wire.fuse.requests import HEADER, LAYOUTS, Malformed, Request, parse

GOLDEN = json.loads(Path(__file__).with_name("requests.json").read_text())
"""Recorded from Linux 6.18, protocol 7.45, while a program listed, read, wrote, linked and renamed."""


def message(opcode: int, body: bytes = b"", *, node: int = 1, extensions: bytes = b"") -> memoryview:
    """What the kernel would send."""
    whole = body + extensions
    return memoryview(HEADER.pack(HEADER.size + len(whole), opcode, 99, node, 1, 2, 3, len(extensions) // 8, 0) + whole)


def body_of(request: Request) -> dict[str, Any]:
    """Its fields, bytes as hexadecimal digits."""
    fields = msgspec.structs.asdict(request.body)
    return {
        name: bytes(value).hex() if isinstance(value, bytes | memoryview) else value for name, value in fields.items()
    }


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["opcode"])
def test_real_messages(golden: dict[str, Any]) -> None:
    """Every field comes from its place."""
    request = parse(memoryview(bytes.fromhex(golden["message"])))
    assert Opcode(request.opcode).name == golden["opcode"]
    assert [request.unique, request.node, request.uid, request.gid] == golden["header"]
    assert body_of(request) == golden["body"]


def test_what_was_recorded_makes_sense() -> None:
    """What the program had asked for."""
    bodies = {each["opcode"]: each["body"] for each in GOLDEN}
    assert (bodies["INIT"]["major"], bodies["INIT"]["minor"]) == (7, 45)
    assert bodies["INIT"]["flags"] >> 32  # flags2 was there
    assert bodies["LOOKUP"] == {"name": b"file".hex()}
    assert bodies["WRITE"]["data"] == b"data".hex()
    assert (bodies["SETATTR"]["mtime"], bodies["SETATTR"]["mtime_nanos"], bodies["SETATTR"]["valid"]) == (2, 3, 0x30)
    assert bodies["SETXATTR"] == {
        "size": 5,
        "flags": 0,
        "more": 0,
        "name": b"user.k".hex(),
        "value": b"value".hex(),
    }
    assert bodies["SYMLINK"] == {"name": b"sym".hex(), "target": b"target".hex()}
    assert bodies["MKDIR"] == {"mode": 0o755, "umask": 0o22, "name": b"dir".hex()}
    assert bodies["CREATE"]["mode"] == 0o100640
    assert bodies["FALLOCATE"] == {"handle": 7, "offset": 0, "length": 100, "mode": 0}


def test_forms_that_were_not_recorded() -> None:
    """By <linux/fuse.h>."""
    forgets = parse(message(Opcode.BATCH_FORGET, struct.pack("=IIQQQQ", 2, 0, 5, 1, 6, 70)))
    assert forgets.body == BatchForget(((5, 1), (6, 70)))
    renamed = parse(message(Opcode.RENAME2, struct.pack("=QII", 9, 1, 0) + b"a\0b\0"))
    assert renamed.body == Rename(9, 1, b"a", b"b")
    longer = message(Opcode.SETXATTR, struct.pack("=IIII", 1, 2, 3, 0) + b"user.x\0" + b"\0")
    assert parse(longer, InitFlag.SETXATTR_EXT).body == SetXattr(1, 2, 3, b"user.x", b"\0")
    assert parse(message(4711, b"whatever")).body == Raw(b"whatever")
    extended = parse(message(Opcode.MKDIR, struct.pack("=II", 1, 2) + b"name\0", extensions=b"x" * 16))
    assert extended.extensions == b"x" * 16


def test_data_of_a_write_is_not_copied() -> None:
    """It is as large as a request can be."""
    buffer = bytearray(message(Opcode.WRITE, struct.pack("=QQIIQII", 7, 0, 4, 0, 0, 0, 0) + b"data"))
    body = parse(memoryview(buffer)).body
    assert isinstance(body, Write)
    buffer[-1:] = b"A"
    assert bytes(body.data) == b"datA"


def test_every_request_has_a_form() -> None:
    """Nothing that the kernel may send is left to chance."""
    special = {Opcode.SETXATTR, Opcode.RENAME, Opcode.INIT, Opcode.BATCH_FORGET}
    assert set(LAYOUTS) | special == set(Opcode)
    assert not set(LAYOUTS) & special


@pytest.mark.parametrize(
    "harmed",
    [
        message(Opcode.LOOKUP, b"name"),
        message(Opcode.LOOKUP, b"\0"),
        message(Opcode.LOOKUP, b"a\0b\0"),
        message(Opcode.LOOKUP, b"x" * 5000 + b"\0"),
        message(Opcode.SYMLINK, b"only one\0"),
        message(Opcode.READ, b"short"),
        message(Opcode.WRITE, struct.pack("=QQIIQII", 7, 0, 5, 0, 0, 0, 0) + b"data"),
        message(Opcode.SETXATTR, struct.pack("=II", 9, 0) + b"user.k\0value"),
        message(Opcode.SETXATTR, struct.pack("=II", 5, 0) + b"\0value"),
        message(Opcode.BATCH_FORGET, struct.pack("=IIQQ", 1 << 31, 0, 5, 1)),
        message(Opcode.INIT, struct.pack("=IIII", 7, 36, 0, InitFlag.INIT_EXT)),
        memoryview(HEADER.pack(41, Opcode.STATFS, 99, 1, 0, 0, 0, 0, 0)),
        memoryview(HEADER.pack(40, Opcode.STATFS, 99, 1, 0, 0, 0, 1, 0)),
    ],
)
def test_malformed_messages_are_refused(harmed: memoryview) -> None:
    """With the number of the request, so that it can be answered."""
    with pytest.raises(Malformed) as refused:
        parse(harmed)
    assert refused.value.unique == 99


def test_bodies_are_small_and_fixed() -> None:
    """No body can be changed after it was parsed."""
    request = parse(message(Opcode.STATFS))
    assert isinstance(request.body, Body)
    with pytest.raises(AttributeError):
        request.node = 2  # type: ignore[misc]
