"""The code against the golden vectors, and against the slow and plain reference of docs/format.md."""

from __future__ import annotations

import json
import random
import struct
import zlib
from typing import Any

import msgspec
import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from knowngood.core.ids import Name
from knowngood.core.model import Checkpoint, Position
from knowngood.seal.chunker import Chunker, ChunkSizes
from knowngood.seal.erasure import coefficient
from knowngood.seal.frame import read_frame, split_chunks
from knowngood.seal.keys import PassphraseLock, parse_recovery_text
from knowngood.testing.stores import MemoryStore
from knowngood.tree.log import log_records as read_log_records
from knowngood.tree.page import decode_leaf, decode_list, decode_node
from knowngood.vault.descriptor import KeyFile, naming_purpose, unchecked
from knowngood.vault.epoch import Epoch
from knowngood.vault.layout import PARITY_LOGS, parity_key
from knowngood.vault.opener import Opener
from knowngood.vault.pack import key_purpose, open_content_key, pack_head, read_keys, walk_pack
from knowngood.vault.parity.decode import decode
from knowngood.vault.parity.sets import list_sets
from knowngood.vault.record import FoldedSegment, Hidden, PlainSegment, Thinned, Unthinned, decode_commit, unwrap_plain
from knowngood.vault.run import Run
from knowngood.vault.segment import open_segment
from knowngood.vault.session import SessionCard
from tests.format.reference import (
    Recipient,
    cut_lengths,
    derive,
    factor,
    gear,
    input_bytes,
    log_name,
    read_log,
    read_parity,
    shard_bytes,
)
from tests.format.samples import (
    NAMER,
    NAMING,
    PASSPHRASE,
    PRIVATE,
    RECOVERY_KEY,
    SAMPLES,
    VAULT_ID,
    VECTORS,
    Vector,
    checkpoint_and_point,
    log_records,
    some,
)


def golden(title: str) -> Vector:
    return json.loads((VECTORS / f"{title}.json").read_text())


def unhex(value: Any) -> bytes:
    return bytes.fromhex(value)


@pytest.mark.parametrize("title", SAMPLES)
def test_the_code_makes_what_it_always_made(title: str) -> None:
    made, kept = SAMPLES[title](), golden(title)
    if title == "frames":  # another version of zstd may pack otherwise
        del made["zstd"], kept["zstd"]
    assert json.loads(json.dumps(made)) == kept


# --------------------------------------------------------------------------------------------------------- section 4


def test_derivations_are_those_of_the_text() -> None:
    kept = golden("names")
    for use, words in (("chunk-key", "chunk name"), ("page-key", "page name"), ("label-key", "timeline label")):
        assert kept[use] == derive(f"knowngood 2026-11 {words}", NAMING).hex()
    seed = int.from_bytes(derive("knowngood 2026-11 chunker seed", NAMING)[:8], "little") >> 1
    assert kept["seed"] == seed


def test_sealed_secrets_open_by_hand() -> None:
    """HPKE from its parts: the suite, the combiner and the key schedule are those of the text."""
    recipient = Recipient(RECOVERY_KEY)
    assert recipient.public == PRIVATE.public.raw == unhex(golden("keys")["public"])
    kept = golden("packs")
    assert recipient.open(unhex(kept["sealed-key"]), key_purpose(VAULT_ID)) == unhex(golden("frames")["content-key"])
    fresh = PRIVATE.public.seal(b"naming secret", naming_purpose(VAULT_ID))
    assert recipient.open(fresh, b"knowngood naming secret " + VAULT_ID) == b"naming secret"


def test_the_recovery_key_and_the_lock_open() -> None:
    kept = golden("keys")
    assert parse_recovery_text(kept["text"]) == RECOVERY_KEY
    lock = kept["lock"]
    opened = PassphraseLock(unhex(lock["salt"]), unhex(lock["sealed"]), iterations=1, lanes=1, memory_kib=8)
    assert opened.open(PASSPHRASE) == RECOVERY_KEY


# --------------------------------------------------------------------------------------------------------- section 5


def test_golden_frames_open() -> None:
    kept = golden("frames")
    for each in [*kept["stored"], *kept["zstd"]]:
        frame = read_frame(unhex(each["frame"]))
        assert frame.open(AESGCM(unhex(kept["content-key"]))) == unhex(each["payload"])
        assert (frame.names.hex(), frame.refs.hex()) == (each["names"], each["refs"])
        assert (frame.header.kind, frame.header.sequence) == (each["kind"], each["sequence"])
        assert frame.header.key_id.hex() == kept["key-id"]
    assert all(read_frame(unhex(each["frame"])).header.codec == 1 for each in kept["zstd"])
    several = read_frame(unhex(kept["stored"][1]["frame"]))
    found = split_chunks(several.names, unhex(kept["stored"][1]["payload"]))
    assert [len(each) for each in found.values()] == [50, 0, 30]


# --------------------------------------------------------------------------------------------------- sections 6 and 9


def test_the_golden_pack_opens() -> None:
    kept = golden("packs")
    pack = unhex(kept["pack"])

    def read(offset: int, length: int) -> bytes:
        return pack[offset : offset + length]

    assert (pack_head(read).kind, pack_head(read).keys) == (1, 1)
    placed = [[frame.names.hex(), frame.offset, frame.header.total_bytes] for frame in walk_pack(read, len(pack))]
    assert placed == kept["placed"]
    (key_frame,) = read_keys(read).values()
    key = open_content_key(read_frame(key_frame), PRIVATE, VAULT_ID)
    for _, offset, length in kept["placed"]:
        assert read_frame(read(offset, length)).open(key)


def test_the_golden_run_finds_its_names() -> None:
    kept = golden("runs")
    run = Run(unhex(kept["narrow"]["name"]), unhex(kept["narrow"]["run"]))
    assert run.intact()
    assert run.packs == {unhex(pack): kind for pack, kind in kept["packs"].items()}
    rows = [row for byte in range(256) for row in run.rows(byte)]
    assert rows == sorted(rows)
    for row in rows:
        (found,) = run.find(row[:16] + bytes(16))
        assert found[1] == row


# --------------------------------------------------------------------------------------------------------- section 8


def test_golden_pages_decode() -> None:
    kept = golden("pages")
    (block,) = decode_leaf(unhex(kept["leaf"]["refs"]), unhex(kept["leaf"]["body"]))
    entries = {entry.name: entry for entry in block.entries()}
    assert (block.directory, block.file_system) == (b"dir\0below", 2)
    assert [*entries] == [b"chunk", b"chunks", b"dev", b"link", b"list"]
    assert entries[b"chunks"].extra.lengths == (10, 10, 10)
    assert entries[b"dev"].extra.rdev == 0x103
    assert entries[b"link"].inline == b"target"
    assert entries[b"list"].extents() == [(4096, 30)]
    assert entries[b"list"].extra.flags == 16
    children = decode_node(unhex(kept["node"]["refs"]), unhex(kept["node"]["body"]))
    assert [child.key for child in children] == [(b"", b"."), (b"dir\0below", b"\xff")]
    names, lengths = decode_list(unhex(kept["list"]["refs"]), unhex(kept["list"]["body"]))
    assert names[0] == names[2] != names[1]
    assert lengths == [1, 1 << 20, (1 << 32) - 1]


# -------------------------------------------------------------------------------------------------- sections 3, 10, 11


def test_golden_documents_are_read() -> None:
    kept = golden("documents")
    descriptor = unchecked(kept["descriptor"].encode())
    assert (descriptor["magic"], descriptor["format"], descriptor["id"]) == ("knowngood vault", 1, VAULT_ID.hex())
    key = KeyFile.decode(unchecked(kept["key-file"].encode()))
    assert key.public == PRIVATE.public
    assert key.lock
    assert len(key.previous) == 1


def test_the_golden_commit_opens() -> None:
    kept = golden("records")
    checkpoint, point = checkpoint_and_point()
    commit = decode_commit(unhex(kept["commit"]))
    assert commit.open(PRIVATE, VAULT_ID) == Hidden((checkpoint,), (point,))
    assert commit.commit == decode_commit(unhex(kept["bare-commit"])).commit
    plain = msgspec.msgpack.decode(unhex(kept["plain"]))
    assert [record["type"] for record in plain["records"]] == ["checkpoint", "point", "expiry", "undo", "fence"]


def test_golden_epochs_and_sessions_are_read() -> None:
    kept = golden("records")
    assert msgspec.msgpack.decode(unwrap_plain(unhex(kept["epoch"])), type=Epoch).number == 12
    card = msgspec.msgpack.decode(unwrap_plain(unhex(kept["session"])), type=SessionCard)
    assert (card.epoch, card.exclusive) == (12, False)


# -------------------------------------------------------------------------------------------------------- section 15


def test_golden_log_frames_are_read_by_the_text_and_by_the_code() -> None:
    kept = golden("logs")
    assert kept["log-key"] == derive("knowngood 2026-11 log name", NAMING).hex()
    previous = bytes(32)
    for each, expected in zip(kept["frames"][:2], (None, log_records()), strict=True):
        refs, payload = unhex(each["refs"]), unhex(each["payload"])
        head, found = read_log(refs, payload)
        assert log_name(NAMING, refs, payload) == unhex(each["name"])
        assert (head["previous"], head["timeline"]) == (previous, some(16, "timeline"))
        made = list(read_log_records(refs, payload))
        assert [msgspec.structs.asdict(record) for record in made] == found
        assert expected is None or tuple(made) == expected
        previous = unhex(each["name"])


def test_the_golden_segment_opens() -> None:
    kept = golden("logs")
    store = MemoryStore()
    data = unhex(kept["segment"])
    name = blake3(data).digest()
    assert name.hex() == kept["segment-name"]
    store.put(f"segments/{name.hex()[:2]}/{name.hex()}", [data])
    segment, thinned, unthinned = decode_commit(unhex(kept["commit"])).commit.records
    assert isinstance(segment, PlainSegment)
    (frame,) = open_segment(store, segment, Opener(store, PRIVATE, VAULT_ID), NAMER)
    assert (frame.refs.hex(), frame.payload.hex()) == (kept["frames"][2]["refs"], kept["frames"][2]["payload"])
    assert thinned == Thinned(segment.timeline, 0, 1 << 40, 7 * 86400 * 10**9)
    assert unthinned == Unthinned(segment.timeline, 5, 1 << 33)
    (folded,) = decode_commit(unhex(kept["folding-commit"])).commit.records
    assert isinstance(folded, FoldedSegment)
    assert msgspec.structs.astuple(folded) == msgspec.structs.astuple(segment)


def test_the_golden_position_and_writer_are_read() -> None:
    kept = golden("logs")
    checkpoint = msgspec.msgpack.decode(unhex(kept["checkpoint"]), type=Checkpoint)
    assert checkpoint.position == Position(1 << 40, unhex(kept["frames"][0]["name"]))
    assert msgspec.structs.replace(checkpoint, position=msgspec.UNSET) == checkpoint_and_point()[0]
    card = msgspec.msgpack.decode(unwrap_plain(unhex(kept["session"])), type=SessionCard)
    assert card.timelines == (some(16, "timeline"),)


# --------------------------------------------------------------------------------------------------------- section 7


def test_cuts_are_those_of_the_text() -> None:
    for case in golden("chunker")["cases"]:
        data = input_bytes(case["bytes"])
        minimum, average, maximum = case["sizes"]
        assert cut_lengths(data, minimum, average, maximum, case["seed"]) == case["chunks"]
        assert sum(case["chunks"]) == case["bytes"]


@pytest.mark.parametrize("chance", range(12))
def test_cuts_are_those_of_the_text_for_any_sizes(chance: int) -> None:
    some = random.Random(chance)
    minimum = some.randrange(64, 600)
    average = some.randrange(max(256, minimum), 1500)
    maximum = some.randrange(max(1024, average), 5000)
    seed, data = some.getrandbits(63), some.randbytes(some.randrange(40_000)) + bytes(some.randrange(5000))
    left = memoryview(data)

    def fill(view: memoryview) -> int:
        nonlocal left
        count = min(len(view), len(left), some.randrange(1, 5000))
        view[:count], left = left[:count], left[count:]
        return count

    lengths = [len(each) for each in Chunker(ChunkSizes(minimum, average, maximum), seed).cut(fill)]
    assert lengths == cut_lengths(data, minimum, average, maximum, seed)


def test_the_gear_table_begins_as_published() -> None:
    assert gear(0)[:2] == [0x3B5D3C7D207E37DC, 0x784D68BA91123086]
    assert gear(5)[0] == 0x3B5D3C7D207E37DC ^ 5


def test_names_are_what_the_type_says() -> None:
    assert len(Name(unhex(golden("pages")["tree"]["root"]))) == 32


# -------------------------------------------------------------------------------------------------------- section 18


def test_golden_parity_objects_are_those_of_the_text() -> None:
    kept = golden("parity")
    lanes = [bytearray(1536), bytearray(1536)]
    sums = b""
    for _, lane, at, content in kept["members"]:
        data = unhex(content)
        lanes[lane][at : at + len(data)] = data
        sums += _crcs(data)
    for number, each in enumerate(kept["objects"]):
        data = unhex(each["bytes"])
        assert blake3(data).hexdigest() == each["name"]
        found = read_parity(data)
        assert (found["number"], found["set"].hex()) == (number, kept["set"])
        assert found["shard"] == shard_bytes(number, [bytes(lane) for lane in lanes])
        assert (found["sums"], found["own"]) == (sums, _crcs(found["shard"]))
        names = [blake3(unhex(content)).digest() for *_, content in kept["members"]]
        assert [row["name"] for row in found["members"]] == names


def _crcs(data: bytes) -> bytes:
    return b"".join(struct.pack("<I", zlib.crc32(data[at : at + 512])) for at in range(0, len(data), 512))


@pytest.mark.parametrize(("shard", "lane"), [(0, 0), (0, 47), (1, 0), (1, 47), (2, 5), (15, 239)])
def test_coefficients_are_those_of_the_text(shard: int, lane: int) -> None:
    assert coefficient(shard, lane) == factor(shard, lane)


def test_golden_parity_objects_bring_members_back() -> None:
    kept = golden("parity")
    for lost, _, _, content in kept["members"]:
        store = MemoryStore()
        for each in kept["objects"]:
            store.put(parity_key(PARITY_LOGS, unhex(each["name"])), [unhex(each["bytes"])])
        for key, _, _, other in kept["members"]:
            store.put(key, [unhex(other)])
        (found,), damaged = list_sets(store)
        assert not damaged
        (member,) = (each for each in found.table.members if each.key == lost)
        store.delete(lost)
        assert decode(store, found, member) == unhex(content)
