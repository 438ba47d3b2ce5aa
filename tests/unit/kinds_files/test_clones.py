"""Level clone: what is told of a change, what one costs, and what happens when there can be no clones."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from knowngood.core.instants import now_ns
from knowngood.core.log import Form, LogRecord, Operation
from knowngood.core.model import ComponentSpec
from knowngood.kinds.files import FilesKind
from knowngood.kinds.files.follow.clone import why_no_clones
from knowngood.kinds.files.follow.differences import CELL
from knowngood.kinds.files.limits import Limits
from knowngood.kinds.files.settled import settled
from knowngood.testing.memory import MemorySink
from tests.loops import Mounts
from tests.servers.waiting import until
from tests.unit.kinds_files.blocks import BLOCK, fallocate
from tests.unit.kinds_files.capturing import noise
from tests.unit.kinds_files.cloning import LEAST, SIZES, Cloned, write
from tests.unit.kinds_files.following import Followed

KIB = 1024
_SIZE = 800 * KIB
_PUNCH = 3


@pytest.fixture(params=["xfs", "btrfs"])
def folder(request: pytest.FixtureRequest, mounts: Mounts) -> Path:
    """An empty folder where files can be cloned."""
    return mounts.fresh_dir(request.param)


@pytest.fixture
def site(folder: Path) -> Iterator[Cloned]:
    """A folder with two large files, followed from now on."""
    site = Cloned(folder)
    for number, name in enumerate(("a", "b")):
        (site.tree / name).write_bytes(noise(_SIZE, number))
    os.sync()
    site.checkpoint()
    with closing(site.follower):
        yield site


def content(records: list[LogRecord]) -> list[tuple[int, int, int]]:
    """What is told of content: offset, length and form."""
    return [(each.offset, each.length, each.form) for each in records if each.operation == Operation.WRITE]


def test_the_first_change_is_told_by_what_differs(site: Cloned) -> None:
    """And so is each that follows; nothing goes into chunks."""
    write(site.tree / "a", 100 * KIB, b"x" * BLOCK)
    assert content(site.tick()) == [(100 * KIB, BLOCK, Form.BYTES)]
    site.verify()
    write(site.tree / "a", 200 * KIB + 5, b"y")
    assert content(site.tick()) == [(200 * KIB, CELL, Form.BYTES)]
    site.verify()
    assert site.follower.standing.level == "clone"
    site.checkpoint()
    assert site.captured.capture == "clone"


def test_few_bytes_of_a_block_are_told_as_such(site: Cloned) -> None:
    """Those near each other together; when it is half of a block or more, or much in it, the block."""
    for at in (0, 100, 3000):
        write(site.tree / "a", at, b"x")
    write(site.tree / "a", 5 * BLOCK, b"x" * (BLOCK // 2 + 1))
    for at in range(10 * BLOCK, 11 * BLOCK, 400):
        write(site.tree / "a", at, b"x")
    assert content(site.tick()) == [
        (0, 2 * CELL, Form.BYTES),
        (3000 // CELL * CELL, CELL, Form.BYTES),
        (5 * BLOCK, BLOCK, Form.BYTES),
        (10 * BLOCK, BLOCK, Form.BYTES),
    ]
    site.verify()


def test_also_when_nothing_had_to_be_read(site: Cloned) -> None:
    """Who follows anew clones what is as the last checkpoint says."""
    until(lambda: all(settled((site.tree / name).stat().st_ctime_ns, now_ns()) for name in ("a", "b")))
    for _ in range(2):  # what changed just before it was read for the first time is read once more
        site.follower.close()
        site.follower = site.follow()
        site.checkpoint()
    assert site.captured.totals.read_bytes == 0
    write(site.tree / "b", 0, b"x")
    assert content(site.tick()) == [(0, CELL, Form.BYTES)]
    site.verify()


def test_the_same_bytes_elsewhere_are_no_change(site: Cloned) -> None:
    """As defragmentation and careless programs leave them."""
    path = site.tree / "a"
    path.write_bytes(path.read_bytes())
    records = site.tick()
    assert content(records) == []
    assert [each.operation for each in records] == [Operation.TIMES]
    site.verify()


def test_zeros_are_told_as_such(site: Cloned) -> None:
    """Holes, room that was set aside, and what a file grows by."""
    with (site.tree / "a").open("r+b") as file:
        fallocate(file.fileno(), _PUNCH, 64 * KIB, 256 * KIB)
        os.ftruncate(file.fileno(), 100 * _SIZE)
    with (site.tree / "b").open("r+b") as file:
        fallocate(file.fileno(), 0, _SIZE, 5000 * KIB)
    records = site.tick()
    assert {form for _, _, form in content(records)} == {Form.ZEROS}
    assert sum(len(each.data) for each in records) == 0
    site.verify()


def test_long_changes_go_as_chunks_of_what_changed(site: Cloned) -> None:
    """The rest of the file is not read."""
    write(site.tree / "a", _SIZE, noise(3000 * KIB, 9))
    found = content(site.tick())
    assert {form for _, _, form in found} == {Form.CHUNK}
    assert (found[0][0], sum(length for _, length, _ in found)) == (_SIZE, 3000 * KIB)
    site.verify()


def test_what_is_read_is_of_one_instant(site: Cloned) -> None:
    """A file that goes on changing is neither a problem of a checkpoint nor half of each."""
    path = site.tree / "a"
    before = path.read_bytes()
    write(path, 0, b"1")
    site.meanwhile[:] = [lambda: write(path, 0, b"2"), lambda: write(path, _SIZE - 1, b"2")]
    site.told.automatic = False
    site.told.dirty.entries.add((b"", b"a"))
    site.checkpoint()
    assert not site.meanwhile
    assert site.captured.problem_count == 0
    assert site.replayed()[b"a"][-1] == b"1" + before[1:]
    site.told.dirty.entries.add((b"", b"a"))
    assert content(site.tick()) == [(0, CELL, Form.BYTES), (_SIZE - CELL, CELL, Form.BYTES)]
    site.verify()


def test_a_file_rests_after_its_clone(site: Cloned) -> None:
    """Others do not wait for it, a checkpoint does not either, and it comes when its time is over."""
    site.room.step = 0.0
    write(site.tree / "a", 0, b"1")
    assert not site.tick()
    (site.tree / "small").write_bytes(b"small")
    assert {each.path for each in site.tick()} == {b"", b"small"}
    site.room.step = 1e6
    assert content(site.tick()) == [(0, CELL, Form.BYTES)]
    site.verify()
    site.room.step = 0.0
    write(site.tree / "a", 0, b"2")
    assert not site.tick()
    site.checkpoint()
    site.verify()


def test_what_rests_shows(site: Cloned) -> None:
    """Nobody has read it since before its last clone: so long ago is what would come back now."""
    site.room.step = 0.0
    write(site.tree / "a", 0, b"1")
    site.room.step = 1e6
    site.tick()
    assert site.follower.standing.unread == 0
    site.room.step = 1.0
    clone = site.clones._kept[_inode(site, "a")]
    clone.begun, clone.rests_until = 0.0, float("inf")
    write(site.tree / "a", 0, b"2")
    assert not site.tick()
    first = site.follower.standing.unread
    (site.tree / "small").write_bytes(b"small")
    assert site.tick()  # that the other one is read makes this one no younger
    assert 0 < first < site.follower.standing.unread
    site.checkpoint()
    assert not site.tick()
    assert site.follower.standing.unread == 0


def _inode(site: Cloned, name: str) -> tuple[int, int]:
    return 0, (site.tree / name).stat().st_ino


def test_clones_give_way(site: Cloned) -> None:
    """With little room half of them goes, the least recently changed first; with less, all; and they come again."""
    write(site.tree / "a", 0, b"1")
    site.tick()
    site.room.free = 0.08
    assert not site.tick()
    assert site.clones.count == 1
    assert "little room" in site.follower.standing.reason
    site.room.free = 0.5
    write(site.tree / "a", 0, b"2")
    assert content(site.tick()) == [(0, CELL, Form.BYTES)]
    assert site.follower.standing.reason == ""
    site.room.free = 0.04
    write(site.tree / "a", 0, b"3")
    write(site.tree / "b", 0, b"3")
    assert {form for _, _, form in content(site.tick())} == {Form.CHUNK}
    site.verify()
    assert (site.clones.count, site.follower.standing.level) == (0, "watch")
    site.room.free = 0.5
    write(site.tree / "b", 0, b"4")
    site.tick()
    assert (site.clones.count, site.follower.standing.level, site.follower.standing.reason) == (1, "clone", "")
    write(site.tree / "b", 0, b"5")
    assert content(site.tick()) == [(0, CELL, Form.BYTES)]
    site.verify()


def test_so_many_at_most(folder: Path) -> None:
    """The largest at first; then those that changed last."""
    site = Cloned(folder, most=2)
    sizes = {"a": LEAST, "b": 2 * LEAST, "c": 3 * LEAST}
    for name, size in sizes.items():
        (site.tree / name).write_bytes(noise(size, 1))
    os.sync()
    with closing(site.follower):
        site.checkpoint()
        assert site.clones.count == 2
        for name in ("a", "b", "c", "a"):
            write(site.tree / name, 0, noise(10, ord(name)))
            site.tick()
            site.verify()
        assert site.clones.count == 2
        assert "more than 2 large files" in site.follower.standing.reason


def test_files_come_and_go(site: Cloned) -> None:
    """Whoever goes lets go of its clone; whoever takes a place does not inherit it."""
    os.rename(site.tree / "a", site.tree / "c")
    site.tick()
    write(site.tree / "c", 0, b"1")
    assert content(site.tick()) == [(0, CELL, Form.BYTES)]
    os.link(site.tree / "c", site.tree / "d")
    write(site.tree / "d", BLOCK, b"1")
    site.tick()
    site.verify()
    (site.tree / "new").write_bytes(noise(_SIZE, 5))
    os.rename(site.tree / "new", site.tree / "c")
    site.tick()
    site.verify()
    (site.tree / "b").unlink()
    (site.tree / "d").unlink()
    site.tick()
    site.verify()
    assert site.clones.count == 1


def test_a_full_file_system(mounts: Mounts) -> None:
    """No clone, and no failure either; what clones held is given back."""
    site = Cloned(mounts.make("xfs", 320))
    with closing(site.follower):
        path = site.tree / "a"
        path.write_bytes(noise(8 << 20, 1))
        os.sync()
        site.checkpoint()
        assert site.clones.count == 1
        with (site.base / "filler").open("wb", buffering=0) as file:
            block = noise(1 << 20, 2)
            try:
                while True:
                    os.pwrite(file.fileno(), block, os.fstat(file.fileno()).st_size)
            except OSError:
                os.ftruncate(file.fileno(), os.fstat(file.fileno()).st_size - (2 << 20))
        for number in range(4):
            write(path, number << 20, bytes([number + 1]) * BLOCK)
            os.sync()
            site.tick()
            assert site.replayed()[b"a"][-1] == path.read_bytes()


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_the_file_system_can_be_unmounted(kind: str, mounts: Mounts, tmp_path: Path) -> None:
    """Clones are no reason for a device to be busy."""
    place = mounts.make(kind, 320)
    site = Cloned(tmp_path)
    site.follower.close()
    site.tree.rmdir()
    site.tree.symlink_to(place / "tree")
    (place / "tree").mkdir()
    site.follower = site.follow()
    with closing(site.follower):
        (site.tree / "a").write_bytes(noise(_SIZE, 1))
        os.sync()
        site.checkpoint()
        assert site.clones.count == 1
        subprocess.run(["umount", place], check=True)


def test_nothing_stays_open(folder: Path) -> None:
    """Not what was kept, nor what was held and came to nothing."""
    before = _open_on(folder)
    site = Cloned(folder)
    (site.tree / "a").write_bytes(noise(_SIZE, 1))
    os.sync()
    site.checkpoint()
    write(site.tree / "a", 0, b"1")
    assert site.follower.look()
    site.follower.records(MemorySink(site.vault), 0, 0)
    assert _open_on(folder) > before
    site.follower.close()
    assert _open_on(folder) == before


def _open_on(folder: Path) -> int:
    """How many descriptors of this process are on a file system."""
    device, count = folder.stat().st_dev, 0
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += os.fstat(int(fd)).st_dev == device
    return count


def test_a_part_of_a_compressed_extent_in_another_ones_place(mounts: Mounts) -> None:
    """Both have the same address on the disk."""
    folder = mounts.fresh_dir("btrfs")
    subprocess.run(["btrfs", "property", "set", folder, "compression", "zstd"], check=True)
    site = Cloned(folder)
    path = site.tree / "a"
    path.write_bytes(b"".join(bytes([number]) * 8 * KIB for number in range(16)))
    os.sync()
    with closing(site.follower):
        site.checkpoint()
        assert site.clones.count == 1
        subprocess.run(
            ["xfs_io", "-c", f"reflink {path} {64 * KIB} 0 {64 * KIB}", path], check=True, capture_output=True
        )
        assert path.read_bytes()[0] == 8
        site.tick()
        site.verify()


def test_why_there_are_none(tmp_path: Path, mounts: Mounts) -> None:
    """Where the file system has none, or they were not asked for, files are watched, and it is said why."""
    ext4, xfs = mounts.fresh_dir("ext4"), mounts.fresh_dir("xfs")
    for folder in (ext4, xfs, tmp_path):
        (folder / "tree").mkdir()
        (folder / "state").mkdir()
    fd = os.open(ext4, os.O_RDONLY)
    assert why_no_clones(fd) == "only XFS and btrfs have clones"
    os.close(fd)

    def standing(folder: Path, capture: str) -> tuple[str, str]:
        component = ComponentSpec(name="c", kind="files", path=str(folder / "tree"), capture=capture)
        with closing(FilesKind().follow(component, str(folder / "state"))) as follower:
            return follower.standing.level, follower.standing.reason

    assert standing(ext4, "clone") == ("watch", "only XFS and btrfs have clones")
    assert standing(ext4, "watch") == ("watch", "")
    assert standing(xfs, "auto") == ("clone", "")
    assert standing(xfs, "clone") == ("clone", "")
    assert standing(xfs, "watch") == ("watch", "")


def test_without_clones_the_first_change_of_a_huge_file_is_told_by_blocks(tmp_path: Path) -> None:
    """Hashes are made while it is read for the first time."""
    site = Followed(tmp_path, SIZES, Limits(hash_bytes=LEAST))
    with closing(site.follower):
        path = site.tree / "a"
        path.write_bytes(noise(_SIZE + 100, 1))
        site.checkpoint()
        write(path, 100 * KIB, b"x" * 10)
        assert content(site.tick()) == [(100 * KIB, BLOCK, Form.BYTES)]
        site.verify()
        write(path, _SIZE, b"x" * 10)
        assert content(site.tick()) == [(_SIZE, 100, Form.BYTES)]
        site.verify()


def test_what_takes_the_place_of_a_file_with_several_names_is_told_whole(tmp_path: Path) -> None:
    """Its content is no change of the other one's, which stays."""
    site = Followed(tmp_path, SIZES, Limits(hash_bytes=LEAST))
    with closing(site.follower):
        old, new = site.tree / "a", site.base / "new"
        data = noise(_SIZE, 1)
        old.write_bytes(data)
        os.link(old, site.tree / "b")
        site.checkpoint()
        new.write_bytes(data[:-5] + b"other")
        os.rename(new, old)
        site.tick()
        site.verify()
