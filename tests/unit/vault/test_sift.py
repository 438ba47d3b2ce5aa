"""Sifting: what is needed of a group stays, the rest of it goes, when the private key is at hand."""

from __future__ import annotations

import random
from typing import Any
from unittest.mock import patch

import pytest

from knowngood.core.buffers import Buffer
from knowngood.core.errors import Damaged, KnowngoodError
from knowngood.core.ids import NAME_BYTES
from knowngood.core.model import Point
from knowngood.core.progress import Progress
from knowngood.core.sizes import KIB, MIB
from knowngood.seal.frame import FrameKind
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault import collect as module, repack
from knowngood.vault.collect import Known, collect
from knowngood.vault.layout import PACKS
from knowngood.vault.pack import walk_pack
from tests.unit.vault.collecting import Files, bytes_in, packs


def half_gone(small: SmallVault, some: random.Random, count: int = 600, size: int = 4000) -> tuple[Point, Files]:
    """Every second file of a point is left; the point with all of them is expired for good."""
    everything = {b"%04d" % at: some.randbytes(size) for at in range(count)}
    rest = dict(list(everything.items())[::2])
    first = small.protect(everything)
    kept = small.protect(rest)
    small.expire(first)
    return kept, rest


def data_frames(small: SmallVault) -> list[int]:
    """How many chunks each frame of content holds."""
    found: list[int] = []
    for each in small.store.list(PACKS):
        data = small.store.get(each.key)
        walked = walk_pack(lambda offset, length, data=data: data[offset : offset + length], len(data))
        found += [len(frame.names) // NAME_BYTES for frame in walked if frame.header.kind == FrameKind.DATA]
    return found


def test_without_the_key_a_group_stays_whole(small: SmallVault, some: random.Random) -> None:
    kept, rest = half_gone(small, some)
    small.collect_all()
    assert bytes_in(small) > 600 * 4000
    small.verify({kept.id: rest})


def test_with_the_key_only_what_is_needed_of_a_group_stays(small: SmallVault, some: random.Random) -> None:
    kept, rest = half_gone(small, some)
    small.collect_all(sifting=True)
    assert 300 * 4000 < bytes_in(small) < 1.1 * 300 * 4000
    assert sum(data_frames(small)) == 300
    assert len(data_frames(small)) == 1
    small.verify({kept.id: rest})
    assert not small.check().findings


def test_sifting_comes_to_an_end(small: SmallVault, some: random.Random) -> None:
    half_gone(small, some)
    small.collect_all(sifting=True)
    before = packs(small)
    assert not small.collect(sifting=True).copied_bytes
    assert packs(small) == before


def test_the_estimate_is_about_what_comes(small: SmallVault, some: random.Random) -> None:
    """Counted by chunks: their sizes are sealed."""
    half_gone(small, some)
    before = bytes_in(small)
    planned = collect(small.vault, Progress(), dry_run=True, known=Known(private=small.private))
    small.collect_all(sifting=True)
    assert planned.freed_bytes == pytest.approx(before - bytes_in(small), rel=0.05)


def test_what_was_sifted_fills_groups_and_packs_as_ever(small: SmallVault, some: random.Random) -> None:
    """Chunks of many groups come together in new ones, and neither groups nor packs grow beyond their bounds."""
    with small_packs(raw=40_000, group=10_000, alone=5000), patch.object(repack, "PACK_BYTES", 30_000):
        kept, rest = half_gone(small, some, 200, 900)
        small.collect_all(sifting=True)
        counts = data_frames(small)
        assert sum(counts) == 100
        assert set(counts[:-1]) <= {12, 100 % 12}  # 12 times 900 bytes are the first above 10,000
        assert all(small.store.stat(key).size < 60_000 for key in packs(small))
    small.verify({kept.id: rest})


def test_large_chunks_are_copied_as_they_are(small: SmallVault, some: random.Random) -> None:
    large = {b"large%d" % at: some.randbytes(300 * KIB) for at in range(4)}
    first = small.protect(large | {b"gone": some.randbytes(2 * MIB)}, piece=MIB)
    kept = small.protect(large, piece=MIB)
    small.expire(first)
    with patch.object(module, "WORTH", 0.01):
        small.collect_all(sifting=True)
    assert data_frames(small) == [1] * 4
    small.verify({kept.id: large})


def test_where_sealing_anew_fails_nothing_goes(small: SmallVault, some: random.Random) -> None:
    """Bad memory, say: chunks of other packs than the one at hand wait for the same frame, and are lost with it."""
    with small_packs(raw=40_000, group=10_000, alone=5000):
        kept, rest = half_gone(small, some, 200, 900)
        seal, calls = repack.seal_frame, 0

        def failing(*args: Any) -> list[Buffer]:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise Damaged("a frame did not open to what was sealed")
            return seal(*args)

        with patch.object(repack, "seal_frame", failing), pytest.raises(KnowngoodError, match="did not open"):
            small.collect_all(sifting=True)
        small.verify({kept.id: rest})
        small.collect_all(sifting=True)
    small.verify({kept.id: rest})
    assert not small.check().findings


def test_a_group_that_cannot_be_opened_stays(small: SmallVault, some: random.Random) -> None:
    """Nothing is thrown away, and nothing is sealed anew, that could not be proven."""
    kept, rest = half_gone(small, some)
    before = packs(small)
    with patch("knowngood.vault.sift.split_chunks", lambda names, _: dict.fromkeys(split(names), b"forged")):
        done = small.collect(sifting=True)
    assert done.spared_packs == 1
    assert {key for key in before if key.startswith(PACKS)} <= packs(small)
    small.verify({kept.id: rest})


def split(names: bytes) -> list[bytes]:
    return [names[at : at + NAME_BYTES] for at in range(0, len(names), NAME_BYTES)]
