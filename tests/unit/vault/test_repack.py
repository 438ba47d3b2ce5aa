"""Repacking: frames that are still needed move as they are."""

from __future__ import annotations

import random
from unittest.mock import patch

import pytest

from knowngood.core.errors import KnowngoodError
from knowngood.testing.vaults import SmallVault, small_packs
from knowngood.vault import collect as module, repack
from knowngood.vault.layout import PACKS
from tests.unit.vault.collecting import files, packs


def test_a_rewritten_pack_never_has_more_keys_than_can_be_read(small: SmallVault, some: random.Random) -> None:
    """Frames from a hundred thousand tiny packs bring as many keys along; a pack's head has a limit."""
    points = [small.protect({b"f": some.randbytes(8)}, f"s{at}") for at in range(40)]
    with patch.object(module, "WORTH", -1.0), patch.object(repack, "PACK_BYTES", 8000):
        small.expire(points[0])
        small.collect()
    for key in packs(small):
        assert small.store.stat(key).size < 12000
    assert len(small.catalog.points()) == 39
    assert not small.check().findings


def test_moved_rows_do_not_pile_up_in_memory(small: SmallVault, some: random.Random) -> None:
    with small_packs():
        first = files(some, 30, 300)
        gone = small.protect(first | {b"z": some.randbytes(9000)})
        kept = small.protect(first)
        small.expire(gone)
    with patch.object(module, "WORTH", -1.0):
        small.collect()
    small.verify({kept.id: first})


def test_strange_files_stop_a_collection_with_a_word(small: SmallVault) -> None:
    small.protect({b"f": b"content"})
    small.store.put(PACKS + "ab/notes.txt", [b"hello"])
    with pytest.raises(KnowngoodError, match=r"notes.txt"):
        small.collect()
