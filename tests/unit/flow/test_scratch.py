"""Bytes that lie in a file without a name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from knowngood.core.errors import KnowngoodError, NoSpace
from knowngood.flow.scratch import WAITING, FileScratch


def test_there_and_back(tmp_path: Path) -> None:
    """Any part of what was put; nothing beyond it; and no name is ever seen."""
    with FileScratch(lambda: str(tmp_path)) as scratch:
        handles = [scratch.put(b"first"), scratch.put(b""), scratch.put(memoryview(b"second" * 1000))]
        assert list(tmp_path.iterdir()) == []
        assert scratch.get(handles[0], 0, 5) == b"first"
        assert scratch.get(handles[0], 3, 50) == b"st"
        assert scratch.get(handles[0], 9, 5) == b""
        assert scratch.get(handles[1], 0, 5) == b""
        assert scratch.get(handles[2], 6, 6000) == b"second" * 999


def test_what_waits_and_what_is_written(tmp_path: Path) -> None:
    """Each handle leads to its bytes, whether they wait, were written with others, or alone because there are many."""
    pieces = [bytes([at]) * length for at, length in enumerate((10, WAITING - 5, 7, WAITING, WAITING + 1, 0, 3, 9))]
    with FileScratch(lambda: str(tmp_path)) as scratch:
        for _ in range(2):
            handles = [scratch.put(piece) for piece in pieces]
            for handle, piece in zip(handles, pieces, strict=True):
                assert scratch.get(handle, 0, len(piece)) == piece
                assert scratch.get(handle, 2, 4) == piece[2:6]


def test_nothing_is_made_for_nothing() -> None:
    """The folder is asked for with the first bytes."""

    def never() -> str:
        raise AssertionError("asked")

    with FileScratch(never):
        pass


def test_no_folder(tmp_path: Path) -> None:
    """What to do is said."""
    with FileScratch(lambda: str(tmp_path / "none")) as scratch, pytest.raises(KnowngoodError) as caught:
        scratch.put(bytes(WAITING + 1))
    assert "the home has to be writable" in caught.value.hint


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one, and no other error."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with FileScratch(lambda: str(tmp_path)) as scratch:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(NoSpace):
            scratch.put(bytes(WAITING + 1))
