"""Files by their handles."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from knowngood.linux import fanotify
from knowngood.wire.fanotify import likely_inode

pytestmark = pytest.mark.root


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """An open folder."""
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_handles_lead_back(kind: str, request: pytest.FixtureRequest) -> None:
    """To the same file, until it is gone; and the number inside is that of the inode."""
    base: Path = request.getfixturevalue(f"{kind}_dir")
    (base / "file").touch()
    mount, file = os.open(base, os.O_RDONLY), os.open(base / "file", os.O_RDONLY)
    handle = fanotify.handle_of(file)
    try:
        assert likely_inode(handle) == os.fstat(file).st_ino
        again = fanotify.open_handle(mount, handle)
        assert os.path.sameopenfile(file, again)
        os.close(again)
        os.close(file)
        (base / "file").unlink()
        with pytest.raises(OSError) as wrong:
            fanotify.open_handle(mount, handle)
        assert wrong.value.errno == errno.ESTALE
    finally:
        os.close(mount)


def test_a_number_that_is_just_being_reused_is_asked_for_again(folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says that it has no memory, for a moment. When that lasts, it is believed."""
    monkeypatch.setattr(fanotify, "_PAUSE", 0)
    handle = fanotify.handle_of(folder)
    honest, calls = fanotify.checked, iter(range(3))

    def busy(result: int) -> int:
        if next(calls, None) is not None:
            if result >= 0:
                os.close(result)
            raise OSError(errno.ENOMEM, "no memory")
        return honest(result)

    monkeypatch.setattr(fanotify, "checked", busy)
    again = fanotify.open_handle(folder, handle)
    assert os.path.sameopenfile(folder, again)
    os.close(again)
    calls = iter(range(10**6))
    with pytest.raises(OSError) as wrong:
        fanotify.open_handle(folder, handle)
    assert wrong.value.errno == errno.ENOMEM
