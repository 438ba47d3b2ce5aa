"""Packs: what is laid down is found again; of a damaged one, everything that is intact."""

from __future__ import annotations

import random

import pytest

from knowngood.core.errors import Damaged, KnowngoodError
from knowngood.core.ids import NAME_BYTES
from knowngood.seal.frame import Contents, FrameKind, read_frame, seal_frame
from knowngood.seal.keys import PrivateKey
from knowngood.vault.pack import (
    ContentKey,
    PackKind,
    SealedPack,
    build_pack,
    open_content_key,
    pack_head,
    read_keys,
    salvage_pack,
    walk_pack,
)

VAULT = b"v" * 16
PRIVATE = PrivateKey(bytes(32))


def pack_of(some: random.Random, keys: int = 1, frames: int = 6) -> tuple[SealedPack, bytes]:
    """A pack whose frames take turns with its keys."""
    made = [ContentKey.generate(PRIVATE.public, VAULT) for _ in range(keys)]
    sealed = []
    for number in range(frames):
        key, payload = made[number % keys], some.randbytes(200)
        contents = Contents(FrameKind.DATA, some.randbytes(NAME_BYTES), b"", payload, payload.__eq__)
        sealed.append(seal_frame(contents, key.key, key.key_id, number))
    pack = build_pack(PackKind.DATA, [key.frame for key in made], sealed)
    return pack, b"".join(pack.parts)


def reader(data: bytes):
    return lambda offset, length: data[offset : offset + length]


def test_what_is_placed_is_there(some: random.Random) -> None:
    pack, data = pack_of(some, keys=3)
    assert pack.size == len(data)
    head = pack_head(reader(data))
    assert (head.kind, head.keys) == (PackKind.DATA, 3)
    walked = list(walk_pack(reader(data), len(data)))
    assert [(each.names, each.offset, each.header.total_bytes) for each in walked] == [
        (each.name, each.offset, each.length) for each in pack.placed
    ]
    assert head.size == walked[0].offset
    keys = read_keys(reader(data))
    assert len(keys) == 3
    for each in pack.placed:
        frame = read_frame(data[each.offset : each.offset + each.length])
        key = open_content_key(read_frame(keys[frame.header.key_id]), PRIVATE, VAULT)
        assert len(frame.open(key)) == 200


def test_a_content_key_is_bound_to_its_vault(some: random.Random) -> None:
    _, data = pack_of(some)
    (key,) = read_keys(reader(data)).values()
    with pytest.raises(Damaged):
        open_content_key(read_frame(key), PRIVATE, b"w" * 16)
    with pytest.raises(KnowngoodError):
        open_content_key(read_frame(key), PrivateKey.generate(), VAULT)


def test_many_keys_are_read_beyond_the_first_block(some: random.Random) -> None:
    _, data = pack_of(some, keys=20, frames=20)
    assert pack_head(reader(data)).size > 8192
    assert len(read_keys(reader(data))) == 20


def test_any_flip_costs_one_frame_or_one_key_at_most(some: random.Random) -> None:
    pack, data = pack_of(some, keys=3)
    head = pack_head(reader(data)).size
    for _ in range(400):
        at = some.randrange(len(data))
        changed = bytearray(data)
        changed[at] ^= 1 << some.randrange(8)
        frames = list(salvage_pack(bytes(changed)))
        keys = read_keys(reader(bytes(changed)))
        expected = {each.name for each in pack.placed}
        lost = expected - {each.names for each in frames}
        assert {each.names for each in frames} <= expected
        if at < head:
            assert not lost
            assert len(keys) >= (3 if at < 24 else 2)
        else:
            assert len(lost) <= 1
            assert len(keys) == 3


def test_every_cut_keeps_what_lies_before_it(some: random.Random) -> None:
    pack, data = pack_of(some)
    for length in range(0, len(data), 61):
        kept = {each.names for each in salvage_pack(data[:length])}
        assert kept == {each.name for each in pack.placed if each.offset + each.length <= length}
        if length not in {0, len(data), *(each.offset for each in pack.placed)}:
            with pytest.raises(Damaged):
                list(walk_pack(reader(data[:length]), length))


@pytest.mark.parametrize("data", [b"", b"KGPK", bytes(24), b"x" * 100], ids=["empty", "magic", "zeros", "other"])
def test_what_is_no_pack_is_told(data: bytes) -> None:
    with pytest.raises(Damaged):
        pack_head(reader(data))
    with pytest.raises(Damaged):
        list(walk_pack(reader(data), len(data)))
    assert read_keys(reader(data)) == {}
    assert list(salvage_pack(data)) == []
