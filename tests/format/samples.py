"""The golden vectors: fixed inputs, and what format 1 makes of them. `python -m tests.format.samples` writes them anew.

They are written once per format. When a test against them fails, the code has changed the format, and not the other way
round: an old vault could not be read, or would be written differently.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from knowngood.core.ids import Name
from knowngood.core.log import NO_FRAME, Form, Gap, LogRecord, Operation
from knowngood.core.model import Checkpoint, Mark, Point, Position, Problem, Totals
from knowngood.seal.chunker import Chunker, ChunkSizes
from knowngood.seal.frame import Contents, FrameKind, lengths_table, plain_frame, seal_frame
from knowngood.seal.keys import PassphraseLock, PrivateKey, recovery_text
from knowngood.seal.names import Namer
from knowngood.tree.block import ROW, BlockWriter, Content, Extra
from knowngood.tree.build import TreeBuilder, ends_block
from knowngood.tree.log import LogDraft
from knowngood.tree.page import Child, encode_leaf, encode_list, encode_node
from knowngood.vault.descriptor import Descriptor, KeyFile
from knowngood.vault.epoch import Epoch
from knowngood.vault.pack import PackKind, build_pack, key_purpose
from knowngood.vault.parity.shard import COMMIT, Member, Table, block_sums, encode_shard
from knowngood.vault.parity.write import Shards
from knowngood.vault.record import (
    Commit,
    Expiry,
    Fence,
    FoldedSegment,
    Hidden,
    PlainCheckpoint,
    PlainPoint,
    PlainSegment,
    Thinned,
    Undo,
    Unthinned,
    encode_commit,
    wrap_plain,
)
from knowngood.vault.run import encode_run, make_row
from knowngood.vault.session import SessionCard
from tests.format.reference import input_bytes

VECTORS = Path(__file__).with_name("vectors")
RECOVERY_KEY, NAMING, VAULT_ID = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 80))
CONTENT_KEY, KEY_ID = bytes(range(96, 128)), bytes(range(128, 144))
PRIVATE, NAMER = PrivateKey(RECOVERY_KEY), Namer.from_secret(NAMING)
PASSPHRASE = "correct horse battery staple ü".encode()

Vector = dict[str, Any]


def some(length: int, label: str = "content") -> bytes:
    """Incompressible bytes that are the same everywhere."""
    pieces = (NAMER.chunk(f"{label} {at}".encode()) for at in range(-(-length // 32)))
    return b"".join(pieces)[:length]


def _once(title: str, field: str, make: Callable[[], bytes]) -> bytes:
    """What the vectors have already: sealing gives other bytes every time."""
    kept = VECTORS / f"{title}.json"
    return bytes.fromhex(json.loads(kept.read_text())[field]) if kept.exists() else make()


def names() -> Vector:
    """Section 4: derivations and names."""
    refs = NAMER.chunk(b"one") + NAMER.chunk(b"two")
    return {
        "naming-secret": NAMING.hex(),
        "chunk-key": NAMER.chunk_key.hex(),
        "page-key": NAMER.page_key.hex(),
        "label-key": NAMER.label_key.hex(),
        "seed": NAMER.seed,
        "chunks": {content.hex(): NAMER.chunk(content).hex() for content in (b"", b"content", some(5000))},
        "page": {"refs": refs.hex(), "body": b"body".hex(), "name": NAMER.page(refs, b"body").hex()},
        "label": {"words": ["timeline", "host", "sörvice"], "label": NAMER.label("timeline", "host", "sörvice").hex()},
    }


def keys() -> Vector:
    """Section 4: the key pair, the recovery key's text, and a passphrase lock that opens at once."""
    lock = PassphraseLock(some(16, "salt"), b"", iterations=1, lanes=1, memory_kib=8)
    sealed = AESGCM(lock._stretch(PASSPHRASE)).encrypt(bytes(12), RECOVERY_KEY, b"knowngood")
    return {
        "recovery-key": RECOVERY_KEY.hex(),
        "text": recovery_text(RECOVERY_KEY),
        "public": PRIVATE.public.raw.hex(),
        "fingerprint": PRIVATE.public.fingerprint.hex(),
        "passphrase": PASSPHRASE.decode(),
        "lock": {"salt": lock.salt.hex(), "sealed": sealed.hex(), "iterations": 1, "lanes": 1, "memory-kib": 8},
    }


def frames() -> Vector:
    """Section 5: stored frames are the same everywhere; what zstd makes may differ, and has to open."""

    def sealed(kind: FrameKind, names: bytes, refs: bytes, payload: bytes, sequence: int) -> Vector:
        contents = Contents(kind, names, refs, payload, payload.__eq__)
        frame = b"".join(seal_frame(contents, AESGCM(CONTENT_KEY), KEY_ID, sequence))
        return {"kind": int(kind), "names": names.hex(), "refs": refs.hex(), "payload": payload.hex(),
                "sequence": sequence, "frame": frame.hex()}  # fmt: skip

    one, several = some(200), [some(50, "a"), b"", some(30, "c")]
    joined = lengths_table([len(each) for each in several]) + b"".join(several)
    text = b"what shrinks " * 40
    return {
        "content-key": CONTENT_KEY.hex(),
        "key-id": KEY_ID.hex(),
        "stored": [
            sealed(FrameKind.DATA, NAMER.chunk(one), b"", one, 0),
            sealed(FrameKind.DATA, b"".join(map(NAMER.chunk, several)), b"", joined, 1),
            sealed(FrameKind.PAGE, NAMER.page(NAMER.chunk(one), one), NAMER.chunk(one), one, 0xFFFFFFFF),
        ],
        "zstd": [sealed(FrameKind.DATA, NAMER.chunk(text), b"", text, 2)],
    }


def pages() -> Vector:
    """Section 8: a page of each kind, and the root of a tree with several levels."""
    writer = BlockWriter(b"dir\0below", 2)
    a, b, c = (NAMER.chunk(each) for each in (b"a", b"b", b"c"))
    row = ROW.pack(0o100644, 1000, 100, 1, 30, 1_700_000_000_000_000_000, 1_700_000_000_000_000_001, 77)
    writer.add(b"chunk", row, Content.CHUNK, a)
    writer.add(b"chunks", row, Content.CHUNKS, b + a + b, extra=Extra(lengths=(10, 10, 10)))
    writer.add(b"dev", ROW.pack(0o20600, 0, 0, 1, 0, -1, 0, 0), Content.NONE, extra=Extra(rdev=0x103))
    writer.add(b"link", ROW.pack(0o120777, 0, 0, 1, 6, 5, 6, 7), Content.INLINE, inline=b"target")
    xattrs = ((b"user.a", b"1"), (b"user.b", some(300)))
    extents = (4096).to_bytes(8, "little") + (30).to_bytes(8, "little")
    extra = Extra(lengths=(1 << 30, 5), extents=extents, xattrs=xattrs, flags=16, rdev=0)
    writer.add(b"list", row, Content.LIST, c + b, extra=extra)
    leaf = encode_leaf([writer.block()])
    children = [Child(Name(a), 0, b"", b".", 9, 100), Child(Name(b), 0, b"dir\0below", b"\xff", 1 << 40, 1 << 63)]
    found = {"leaf": leaf, "node": encode_node(children), "list": encode_list([a, b, a], [1, 1 << 20, (1 << 32) - 1])}
    vector: Vector = {
        kind: {"refs": refs.hex(), "body": body.hex(), "name": NAMER.page(refs, body).hex()}
        for kind, (refs, body) in found.items()
    }
    return vector | {"tree": _tree()}


def _tree() -> Vector:
    made: list[Name] = []

    def put(refs: bytes, body: bytes) -> Name:
        made.append(NAMER.page(refs, body))
        return made[-1]

    builder = TreeBuilder(put)
    for directory in sorted(b"d%d" % number for number in range(40)):
        writer = BlockWriter(directory, 0)
        for name in sorted(b"file %d" % number for number in range(700)):
            writer.add(name, ROW.pack(0o100644, 0, 0, 1, 1, 2, 3, 4), Content.CHUNK, NAMER.chunk(directory + name))
            if ends_block(len(writer), name):
                builder.add(writer.block())
                writer = BlockWriter(directory, 0)
        if len(writer):
            builder.add(writer.block())
    root = builder.finish()
    return {"root": root.hex(), "pages": [name.hex() for name in made]}


def packs() -> Vector:
    """Section 6: a pack with one key. Its sealed key was made once: sealing is different every time."""
    sealed = _once("packs", "sealed-key", lambda: PRIVATE.public.seal(CONTENT_KEY, key_purpose(VAULT_ID)))
    key_frame = plain_frame(FrameKind.KEY, PRIVATE.public.fingerprint, sealed, KEY_ID)
    frames: list[Any] = []
    for sequence, content in enumerate((some(100, "x"), some(70, "y"))):
        contents = Contents(FrameKind.DATA, NAMER.chunk(content), b"", content, content.__eq__)
        frames.append(seal_frame(contents, AESGCM(CONTENT_KEY), KEY_ID, sequence))
    pack = build_pack(PackKind.DATA, [key_frame], frames)
    return {
        "vault-id": VAULT_ID.hex(),
        "sealed-key": sealed.hex(),
        "pack": b"".join(pack.parts).hex(),
        "name": pack.name.hex(),
        "placed": [[each.name.hex(), each.offset, each.length] for each in pack.placed],
    }


def runs() -> Vector:
    """Section 9: a narrow run and, by its hash, a wide one."""
    packs = {some(32, "pack one"): 1, some(32, "pack two"): 2}

    def run(count: int) -> tuple[bytes, bytes]:
        some_packs = sorted(packs)
        rows = sorted(make_row(NAMER.chunk(b"%d" % n), some_packs[n % 2], 32 + n, 100 + n) for n in range(count))
        name, parts = encode_run(packs, rows, count)
        return name, b"".join(parts)

    narrow, wide = run(20), run(1 << 15)
    return {
        "packs": {pack.hex(): kind for pack, kind in packs.items()},
        "narrow": {"rows": 20, "name": narrow[0].hex(), "run": narrow[1].hex()},
        "wide": {"rows": 1 << 15, "name": wide[0].hex(), "bytes": len(wide[1])},
    }


def documents() -> Vector:
    """Section 3: a descriptor and a key file as stored."""
    descriptor = Descriptor(
        VAULT_ID, ChunkSizes(524288, 524288, 4194304), "2026-11-20T14:02:07.000000000Z", {"read": ("später",)}
    )
    lock = PassphraseLock(some(16, "salt"), some(48, "sealed"))
    key = KeyFile(PRIVATE.public, some(1168, "naming"), lock, (some(1168, "previous"),))
    return {"descriptor": descriptor.encode().decode(), "key-file": key.encode().decode(),
            "public": base64.b64encode(PRIVATE.public.raw).decode()}  # fmt: skip


def checkpoint_and_point() -> tuple[Checkpoint, Point]:
    """What the hidden part of the sample commit holds."""
    checkpoint = Checkpoint(
        id=some(16, "checkpoint"), timeline=some(16, "timeline"), root=some(32, "root"), component="files",
        kind="files", source="/srv/süß", host="host", capture="scan", started_ns=1, finished_ns=2,
        totals=Totals(files=1, directories=2, others=3, bytes=4, changed_files=5, read_bytes=6, landed_bytes=7),
        problems=(Problem(b"bad\xff", "permission denied"),), problem_count=1,
    )  # fmt: skip
    point = Point(
        id=some(16, "point"), service_label=some(16, "service"), service="shop",
        marks=(Mark(checkpoint.timeline, checkpoint.id),), level="L0", status="incomplete", moment_ns=3, started_ns=1,
        evidence={"method": "one after the other"}, definition=b"definition", name="before the change",
    )  # fmt: skip
    return checkpoint, point


def records() -> Vector:
    """Sections 10 and 11: a commit of every kind of record, an epoch, and the announcement of a session."""
    checkpoint, point = checkpoint_and_point()
    commit = Commit(
        some(16, "session"),
        3,
        1_700_000_000_000_000_000,
        (
            PlainCheckpoint(checkpoint.id, checkpoint.timeline, checkpoint.root),
            PlainPoint(point.id, point.service_label, point.marks),
            Expiry((some(16, "old"),), 7 * 86400 * 10**9),
            Undo((some(16, "older"),)),
            Fence(),
        ),
    )
    hidden = Hidden((checkpoint,), (point,))
    epoch = Epoch(
        number=12,
        superseded=(some(32, "run"),),
        condemned=(some(32, "pack one"),),
        condemned_at=12,
        deleted=((some(32, "pack two"), 2),),
        purged=(some(16, "old"),),
    )
    card = SessionCard(
        id=some(16, "session"), epoch=12, purpose="protect", host="host", boot="boot", process=4321, start_ticks=99,
        since_ns=1_700_000_000_000_000_000, machine="machine", namespace="pid:[4026531836]", exclusive=False,
    )  # fmt: skip
    return {
        "plain": msgspec.msgpack.encode(commit).hex(),
        "hidden": msgspec.msgpack.encode(hidden).hex(),
        "commit": _once("records", "commit", lambda: encode_commit(commit, hidden, PRIVATE.public, VAULT_ID)).hex(),
        "bare-commit": encode_commit(commit, None, PRIVATE.public, VAULT_ID).hex(),
        "epoch": wrap_plain(msgspec.msgpack.encode(epoch)).hex(),
        "session": wrap_plain(msgspec.msgpack.encode(card)).hex(),
    }


def log_records() -> tuple[LogRecord, ...]:
    """A record of every operation, and of every form of data."""
    row = ROW.pack(0o100640, 1000, 100, 1, 30, 1_700_000_000_000_000_000, 0, 77)
    chunk, moment = some(32, "chunk"), 1_700_000_000_000_000_000

    def at(place: int, operation: Operation, path: bytes = b"dir\0file", **more: Any) -> LogRecord:
        return LogRecord(sequence=(1 << 40) + place, time_ns=moment + place, operation=operation, path=path, **more)

    return (
        at(0, Operation.CREATE, row=row, length=5, form=Form.BYTES, data=b"hello"),
        at(1, Operation.WRITE, offset=1 << 40, length=4096, form=Form.DELTA, data=some(40, "delta"), row=row),
        at(2, Operation.WRITE, length=1 << 20, form=Form.CHUNK, data=chunk),
        at(3, Operation.WRITE, offset=9, length=70_000, form=Form.ZEROS),
        at(4, Operation.WRITE, offset=5, length=100, form=Form.CHUNK, data=some(32, "another")),
        at(5, Operation.WRITE, offset=7, length=1 << 20, form=Form.CHUNK, data=chunk),
        at(6, Operation.TRUNCATE, length=3),
        at(7, Operation.LINK, b"name", second=b"dir\0file"),
        at(8, Operation.UNLINK, b"name"),
        at(9, Operation.RENAME, second=b"other", value=1),
        at(10, Operation.MODE, row=row),
        at(11, Operation.OWNER, row=row),
        at(12, Operation.XATTR, second=b"user.a", length=3, form=Form.BYTES, data=b"yes"),
        at(13, Operation.FLAGS, b"", value=0x40),
        at(14, Operation.MARK, b"", second=some(16, "mark")),
        at(15, Operation.GAP, b"", value=Gap.NOT_RUNNING),
        at(16, Operation.TIMES, row=row),
    )


def logs() -> Vector:
    """Section 15: the frame that begins a chain, the one that follows it, their segment, and commits that speak of it.

    The second payload does not shrink: its sealed form is the same everywhere.
    """
    timeline, records = some(16, "timeline"), log_records()
    begin = LogDraft(timeline, records[0].sequence - 1)
    begin.add(LogRecord(sequence=records[0].sequence - 1, time_ns=-1, operation=Operation.UNLINK))
    first = begin.finish(NO_FRAME)
    draft, plain = LogDraft(timeline, records[0].sequence), LogDraft(timeline, records[0].sequence)
    for record in records:
        draft.add(record)
    second = draft.finish(NAMER.log(*first))
    filler = some(300, "written")
    plain.add(msgspec.structs.replace(records[0], length=len(filler), data=filler))
    stored = plain.finish(NAMER.log(*first))
    key_frame = plain_frame(FrameKind.KEY, PRIVATE.public.fingerprint, bytes.fromhex(packs()["sealed-key"]), KEY_ID)
    contents = Contents(FrameKind.LOG, NAMER.log(*stored), stored[0], stored[1], stored[1].__eq__)
    segment = build_pack(PackKind.SEGMENT, [key_frame], [seal_frame(contents, AESGCM(CONTENT_KEY), KEY_ID, 7)])
    spoken = PlainSegment(timeline, segment.name, records[0].sequence, 1, NAMER.log(*first), NAMER.log(*stored), 0)
    changes = (spoken, Thinned(timeline, 0, 1 << 40, 7 * 86400 * 10**9), Unthinned(timeline, 5, 1 << 33))
    commit = Commit(some(16, "session"), 4, 1_700_000_000_000_000_001, changes)
    folded = FoldedSegment(*msgspec.structs.astuple(spoken))
    folding = Commit(some(16, "session"), 5, 1_700_000_000_000_000_002, (folded,))
    checkpoint = msgspec.structs.replace(checkpoint_and_point()[0], position=Position(1 << 40, NAMER.log(*first)))
    return {
        "log-key": NAMER.log_key.hex(),
        "frames": [
            {"refs": refs.hex(), "payload": payload.hex(), "name": NAMER.log(refs, payload).hex()}
            for refs, payload in (first, second, stored)
        ],
        "segment": b"".join(segment.parts).hex(),
        "segment-name": segment.name.hex(),
        "commit": encode_commit(commit, None, PRIVATE.public, VAULT_ID).hex(),
        "folding-commit": encode_commit(folding, None, PRIVATE.public, VAULT_ID).hex(),
        "checkpoint": msgspec.msgpack.encode(checkpoint).hex(),
        "session": wrap_plain(msgspec.msgpack.encode(_writing_card(timeline))).hex(),
    }


def _writing_card(timeline: bytes) -> SessionCard:
    return SessionCard(
        id=some(16, "session"), epoch=12, purpose="follow", host="host", boot="boot", process=4321, start_ticks=99,
        since_ns=1_700_000_000_000_000_000, timelines=(timeline,),
    )  # fmt: skip


def chunker() -> Vector:
    """Section 7: the lengths of the chunks of known content."""
    cases = [
        (64, 256, 1024, 0, 20_000), (64, 256, 1024, 1, 20_000), (64, 256, 1024, NAMER.seed, 20_001),
        (65, 300, 1025, NAMER.seed, 9_999), (1024, 4096, 32768, (1 << 63) - 1, 300_000),
        (524288, 524288, 4194304, NAMER.seed, 9_000_000),
    ]  # fmt: skip
    found: list[Vector] = []
    for minimum, average, maximum, seed, length in cases:
        left = memoryview(input_bytes(length))

        def fill(view: memoryview) -> int:
            nonlocal left
            count = min(len(view), len(left))
            view[:count], left = left[:count], left[count:]
            return count

        lengths = [len(each) for each in Chunker(ChunkSizes(minimum, average, maximum), seed).cut(fill)]
        found.append({"sizes": [minimum, average, maximum], "seed": seed, "bytes": length, "chunks": lengths})
    return {"input": "BLAKE3 in extended-output mode of the ASCII text 'knowngood chunker vector'", "cases": found}


def parity() -> Vector:
    """Section 18: two parity objects over three members in two lanes."""
    contents = [some(700, "pack"), some(512, "commit"), some(1500, "segment")]
    names = [blake3(data).digest() for data in contents]
    members = (
        Member(1, 0, 0, 700, names[0]),
        Member(COMMIT, 0, 1024, 512, names[1], VAULT_ID, 7),
        Member(3, 1, 0, 1500, names[2]),
    )
    table, shards = Table(2, 2, 512, 1536, members), Shards(2)
    sums = b"".join(block_sums(data, 512) for data in contents)
    for member, data in zip(table.members, contents, strict=True):
        shards.add(member.lane, member.offset, data)
    made = [encode_shard(table, number, sums, list(shards.payload(number, 1536))) for number in (0, 1)]
    named = [(each.key, each.lane, each.offset) for each in table.members]
    return {
        "members": [[*name, data.hex()] for name, data in zip(named, contents, strict=True)],
        "set": table.set_id(sums).hex(),
        "objects": [{"name": name.hex(), "bytes": b"".join(parts).hex()} for name, parts in made],
    }


SAMPLES: dict[str, Callable[[], Vector]] = {
    each.__name__: each for each in (names, keys, frames, pages, packs, runs, documents, records, logs, parity, chunker)
}

if __name__ == "__main__":
    VECTORS.mkdir(exist_ok=True)
    for title, sample in SAMPLES.items():
        (VECTORS / f"{title}.json").write_text(json.dumps(sample(), indent=1) + "\n")
