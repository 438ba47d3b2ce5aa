"""The kit's own file systems are what they say, and nobody outside sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loops import FILE_SYSTEMS, Mounts


def _kind_of(folder: Path) -> str | None:
    fields = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = {row[4]: row[row.index("-") + 1] for row in fields}
    return kinds.get(str(folder.parent))


@pytest.mark.loop
@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_folder_is_on_its_file_system(kind: str, request: pytest.FixtureRequest) -> None:
    """`xfs_dir` is on XFS, and so on; it starts empty and takes files."""
    folder: Path = request.getfixturevalue(f"{kind}_dir")
    assert _kind_of(folder) == kind
    assert list(folder.iterdir()) == []
    (folder / "file").write_bytes(b"content")


@pytest.mark.root
def test_mounts_stay_private(ext4_dir: Path) -> None:
    """The first process of the system has none of our mounts."""
    assert str(ext4_dir.parent) not in Path("/proc/1/mountinfo").read_text()


def test_small_file_system_fills_up(mounts: Mounts) -> None:
    """`mounts.make` gives a file system of any size, to be filled."""
    folder = mounts.make("ext4", 16)
    with pytest.raises(OSError, match="No space left"):
        (folder / "file").write_bytes(bytes(32 << 20))
