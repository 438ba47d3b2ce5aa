"""What lies in a vault, as somebody may leave it there who has its disk, and knows how to make checksums right."""

from __future__ import annotations

import functools
import json
import random

from blake3 import blake3

from knowngood.core.errors import KnowngoodError
from knowngood.core.ids import Name
from knowngood.core.log import NO_FRAME
from knowngood.core.malformed import MALFORMED
from knowngood.seal import codec
from knowngood.seal.frame import read_frame, read_header
from knowngood.seal.keys import parse_recovery_text, recovery_text
from knowngood.testing.logs import SmallLog, records
from knowngood.testing.stores import MemoryStore
from knowngood.testing.vaults import SmallVault
from knowngood.tree.log import LogDraft, log_records, read_log_head
from knowngood.tree.page import LEAF, NODE, decode_leaf, decode_list, decode_node, page_kind
from knowngood.vault.descriptor import read_descriptor, read_key_files
from knowngood.vault.epoch import epoch_numbers, read_epoch
from knowngood.vault.index import Index
from knowngood.vault.layout import COMMITS, EPOCHS, INDEX, KEYS, PACK_FOLDERS, SESSIONS, epoch_key
from knowngood.vault.pack import pack_head, read_keys, salvage_pack, walk_pack
from knowngood.vault.record import decode_commit
from knowngood.vault.run import Run, row_frame
from knowngood.vault.session import read_card
from tests.fuzz.target import Target


@functools.cache
def _small() -> SmallVault:
    """A vault with everything in it."""
    small, some = SmallVault(MemoryStore()), random.Random(5)
    small.protect({b"d/%d" % each: some.randbytes(300) for each in range(40)})
    small.expire(small.protect({b"a": b"x" * 5000, b"long": some.randbytes(90_000)}, piece=500))
    SmallLog(small).write(records(some, 0, 9, []))
    small.follow()
    small.collect()
    small.protect({b"more": some.randbytes(500), b"long": some.randbytes(90_000)}, piece=500)
    return small


def _objects(prefix: str) -> list[bytes]:
    store = _small().store
    assert isinstance(store, MemoryStore)
    return [bytes(data) for key, data in sorted(store.objects.items()) if key.startswith(prefix)]


def _card() -> bytes:
    with _small().vault.session("is there", timelines=(b"t" * 16,)):
        (card,) = _objects(SESSIONS)
    return card


def _mend_record(data: bytes) -> bytes:
    """The hash of all before at the end."""
    return data[:-32] + blake3(data[:-32]).digest() if len(data) >= 32 else data


def _mend_frame(data: bytes) -> bytes:
    return data[:48] + blake3(data[:48] + data[64:]).digest()[:16] + data[64:] if len(data) >= 64 else data


def _mend_run(data: bytes) -> bytes:
    """The checksum of its front, where that ends."""
    if len(data) < 32:
        return data
    bits, packs = data[6], int.from_bytes(data[8:12], "little")
    end = 32 + 40 * packs + 4 * ((1 << min(bits, 16)) + 1)
    return data[:end] + blake3(data[:end]).digest() + data[end + 32 :] if end + 32 <= len(data) else data


def _mend_document(data: bytes) -> bytes:
    """The checksum of a document that is one."""
    try:
        document = json.loads(data)
        document.pop("checksum", None)
        text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, AttributeError, RecursionError):
        return data
    return json.dumps(document | {"checksum": blake3(text).hexdigest()}).encode()


def _pack(data: bytes) -> None:
    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    list(salvage_pack(data))
    pack_head(read)
    read_keys(read)
    for _ in walk_pack(read, len(data)):
        pass


def _run(data: bytes) -> None:
    run = Run(blake3(data).digest(), data)
    run.intact()
    index = Index([run], frozenset())
    for byte in range(256):
        for row in run.rows(byte):
            row_frame(row)
            index.known(row[:16])
            list(index.locate(row[:16]))


def _commit(data: bytes) -> None:
    decode_commit(data).open(_small().private, _small().vault.id)


def _placed(key: str, data: bytes) -> MemoryStore:
    store = MemoryStore()
    store.put(key, [data])
    return store


def _epoch(data: bytes) -> None:
    store = _placed(epoch_key(3), data)
    read_epoch(store, epoch_numbers(store)[-1])


def _descriptor(data: bytes) -> None:
    read_descriptor(_placed("vault.json", data))


def _keys(data: bytes) -> None:
    for each in read_key_files(_placed(f"{KEYS}0011223344556677.json", data)):
        _small().private.having(each.public.fingerprint)


def _page(data: bytes) -> None:
    """A page's references, of which the first four bytes say how many bytes they have, and its body."""
    end = 4 + int.from_bytes(data[:4], "little")
    refs, body = data[4:end], data[end:]
    kind = page_kind(body)
    if kind == LEAF:
        for block in decode_leaf(refs, body):
            for entry in block.entries():
                entry.names()
                entry.extents()
    elif kind == NODE:
        decode_node(refs, body)
    else:
        decode_list(refs, body)


def _pages() -> list[bytes]:
    small = _small()
    found: list[bytes] = []
    with small.vault.session("look") as session:
        reader = small.vault.reader(session, small.private)
        for point in small.catalog.points():
            ahead = [small.catalog.checkpoint(point.marks[0].checkpoint).root]
            while ahead:
                refs, body = map(bytes, reader.page(Name(ahead.pop())))
                found.append(len(refs).to_bytes(4, "little") + refs + body)
                if page_kind(body) == NODE:
                    ahead += [child.page for child in decode_node(refs, body)]
    return found


def _log_payload() -> bytes:
    draft = LogDraft(b"t" * 16, 0)
    for each in records(random.Random(3), 0, 9, []):
        draft.add(each)
    return draft.finish(NO_FRAME)[1]


def _log(data: bytes) -> None:
    read_log_head(data)
    list(log_records(bytes(64), data))


def _codec(data: bytes) -> None:
    codec.decode(data[0] if data else 0, data[5:], int.from_bytes(data[1:5], "little") % (1 << 21))


def _frame(data: bytes) -> None:
    read_header(data)
    read_frame(data)


def _frames() -> list[bytes]:
    found: list[bytes] = []
    for folder in PACK_FOLDERS.values():
        for data in _objects(folder):
            found += [data[each.offset : each.offset + each.header.total_bytes] for each in salvage_pack(data)]
    return found


def vault_targets() -> list[Target]:
    """All of them; to make the samples takes a moment."""
    zstd = codec.encode(b"abc" * 3000)
    packed = bytes([zstd[0]]) + (9000).to_bytes(4, "little") + bytes(zstd[1])
    packs = [data for folder in PACK_FOLDERS.values() for data in _objects(folder)]
    return [
        Target("frame", _frames(), _frame, mend=_mend_frame),
        Target("pack", packs, _pack),
        Target("run", _objects(INDEX), _run, mend=_mend_run),
        Target("commit", _objects(COMMITS), _commit, mend=_mend_record),
        Target("epoch", _objects(EPOCHS), _epoch, mend=_mend_record),
        Target("card", [_card()], lambda data: read_card(_placed("sessions/00", data), "sessions/00"),
               (KnowngoodError, *MALFORMED), mend=_mend_record),
        Target("descriptor", _objects("vault."), _descriptor, mend=_mend_document),
        Target("keys", _objects(KEYS), _keys, mend=_mend_document),
        Target("page", _pages(), _page, memory=64 << 20),
        Target("log", [_log_payload()], _log),
        Target("codec", [packed], _codec, memory=16 << 20),
        Target("recovery-text", [recovery_text(bytes(range(32))).encode()],
               lambda data: parse_recovery_text(data.decode("latin1"))),
    ]  # fmt: skip
