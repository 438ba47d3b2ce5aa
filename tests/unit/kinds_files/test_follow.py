"""Following: each kind of change, one after the other; replay comes to what is there, and costs what it should."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.core.errors import NotFound
from knowngood.core.log import Form, Gap, LogRecord, Operation
from knowngood.kinds.files.follow import follower, look, reading
from knowngood.kinds.files.limits import Limits
from knowngood.seal.chunker import ChunkSizes
from tests.unit.kinds_files.capturing import later, noise
from tests.unit.kinds_files.following import Followed


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    """Some files, captured and followed."""
    site = Followed(tmp_path, sizes=ChunkSizes(1 << 16, 1 << 17, 1 << 18), exclude=("*.tmp", "cache/"))
    (site.tree / "folder").mkdir()
    (site.tree / "folder" / "a").write_bytes(b"a" * 500)
    (site.tree / "folder" / "b").write_bytes(b"b" * 50)
    (site.tree / "large").write_bytes(noise(2_000_000))
    os.link(site.tree / "folder" / "a", site.tree / "other")
    site.checkpoint()
    yield site
    site.follower.close()


def count(records: list[LogRecord]) -> Counter[str]:
    """How many there are of each sort."""
    return Counter(Operation(each.operation).name for each in records)


def test_nothing(followed: Followed) -> None:
    """Nothing changed: nothing is recorded."""
    assert followed.tick() == []
    followed.verify()


def test_small_changes(followed: Followed) -> None:
    """A write, a new file, one that goes, one that is cut."""
    (followed.tree / "folder" / "b").write_bytes(b"c" * 60)
    (followed.tree / "new").write_bytes(b"new")
    assert count(followed.tick()) == {"CREATE": 1, "WRITE": 1, "TIMES": 1}
    followed.verify()
    (followed.tree / "new").unlink()
    os.truncate(followed.tree / "large", 1000)
    followed.tick()
    followed.verify()
    followed.checkpoint()
    assert followed.roots[-1][0] == followed.scan()


def test_attributes_bring_no_content(followed: Followed) -> None:
    """Content that is the same is told by its chunk's name; it is not in the log."""
    os.chmod(followed.tree / "folder" / "b", 0o600)
    os.chmod(followed.tree / "large", 0o600)
    assert count(followed.tick()) == {"MODE": 2}
    followed.verify()


def test_a_renamed_file_brings_no_content(followed: Followed) -> None:
    """Nor do the files of a renamed directory."""
    os.rename(followed.tree / "large", followed.tree / "larger")
    assert count(followed.tick()) == {"RENAME": 1, "TIMES": 2}
    os.rename(followed.tree / "folder", followed.tree / "moved")
    assert count(followed.tick())["WRITE"] == 0
    followed.verify()


def test_a_number_that_is_given_out_again_is_no_rename(followed: Followed) -> None:
    """A new file often gets the number of one that was just deleted: that one has to be found as deleted."""
    os.rename(followed.tree / "folder" / "b", followed.tree / "new")
    (followed.tree / "new").write_bytes(b"something else")
    records = followed.tick()
    assert count(records) == {"UNLINK": 1, "CREATE": 1, "TIMES": 2}
    assert [each.path for each in records if each.operation == Operation.UNLINK] == [b"folder\0b"]
    followed.verify()


def test_only_chunks_that_changed(followed: Followed) -> None:
    """Of a large file that is met for the first time."""
    with (followed.tree / "large").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"x" * 10)
    records = followed.tick()
    assert {each.form for each in records} == {Form.CHUNK}
    assert sum(each.length for each in records) < 800_000
    followed.verify()


def test_only_blocks_that_changed(followed: Followed) -> None:
    """Of a large file that was taken before: 4 KiB for a byte, as it grows and shrinks."""
    with (followed.tree / "large").open("r+b") as file:
        for step in range(8):
            file.seek(step * 100_000)
            file.write(bytes([step + 1]))
            file.flush()
            records = followed.tick()
            followed.verify()
            if step > 1:
                assert [(each.form, each.length) for each in records] == [(Form.BYTES, 4096)]
        file.seek(2_500_000)
        file.write(b"beyond")
        file.flush()
        assert sum(each.length for each in followed.tick() if each.form == Form.BYTES) < 20_000
        followed.verify()
        file.truncate(1_234_567)
        followed.tick()
        followed.verify()
    followed.checkpoint()
    assert followed.roots[-1][0] == followed.scan()
    followed.verify(-2)


def test_too_much_for_blocks(followed: Followed) -> None:
    """What is mostly new goes as chunks."""
    with patch.object(reading, "RUNS", 100_000):
        for seed in range(4):
            (followed.tree / "large").write_bytes(noise(2_000_000, seed + 5))
            records = followed.tick()
            assert {each.form for each in records if each.operation == Operation.WRITE} == {Form.CHUNK}
            followed.verify()


def test_more_small_content_than_may_be_held(followed: Followed) -> None:
    """The rest goes as chunks."""
    with patch.object(reading, "HELD", 30_000):
        for number in range(5):
            (followed.tree / f"new{number}").write_bytes(noise(10_000, number))
        assert count(followed.tick())["CREATE"] == 5
        followed.verify()


def test_a_name_more_for_a_known_file(followed: Followed) -> None:
    """It is found by its inode, though nobody tells of the name it had."""
    followed.told.automatic = False
    os.link(followed.tree / "folder" / "b", followed.tree / "second")
    followed.told.dirty.entries.add((b"", b"second"))
    assert count(followed.tick()) == {"LINK": 1, "TIMES": 2}
    followed.verify()
    (followed.tree / "second").write_bytes(b"through the second name")
    followed.told.dirty.entries.add((b"", b"second"))
    followed.tick()
    followed.verify()


def test_a_name_outside(followed: Followed, tmp_path: Path) -> None:
    """A file is changed through a name that does not belong to the component: its inode is told."""
    outside = tmp_path / "outside"
    os.link(followed.tree / "large", outside)
    followed.tick()
    followed.verify()
    followed.told.automatic = False
    with outside.open("r+b") as file:
        file.write(b"from outside")
    followed.told.dirty.inodes.add(outside.stat().st_ino)
    followed.tick()
    followed.verify()


def test_what_is_left_out(followed: Followed) -> None:
    """Patterns hold for single names as they do for a scan."""
    (followed.tree / "a.tmp").write_bytes(b"1")
    (followed.tree / "cache").mkdir()
    (followed.tree / "cache" / "x").write_bytes(b"1")
    assert [each.path for each in followed.tick()] == [b""]
    followed.verify()
    os.rename(followed.tree / "folder" / "b", followed.tree / "b.tmp")
    assert count(followed.tick()) == {"UNLINK": 1, "TIMES": 2}
    followed.verify()


def test_a_directory_that_is_new_again(followed: Followed) -> None:
    """Only its name is told; whatever inode it has."""
    followed.told.automatic = False
    for number in range(5):
        (followed.tree / "folder" / "a").unlink(missing_ok=True)
        (followed.tree / "folder" / "b").unlink(missing_ok=True)
        (followed.tree / "folder" / f"c{number - 1}").unlink(missing_ok=True)
        (followed.tree / "folder").rmdir()
        (followed.tree / "folder").mkdir()
        (followed.tree / "folder" / f"c{number}").write_bytes(b"c")
        followed.told.dirty.entries.add((b"", b"folder"))
        followed.told.dirty.inodes.add((followed.tree / "other").stat().st_ino)
        followed.tick()
        followed.verify()


def test_more_than_is_taken_at_once(tmp_path: Path) -> None:
    """The rest comes at the next ticks; a directory goes when all below it has gone."""
    site = Followed(tmp_path, clock=later)
    site.checkpoint()
    with closing(site.follower), patch.object(look.Look.__init__, "__defaults__", (7,)):
        for number in range(20):
            (site.tree / "many" / f"{number}").mkdir(parents=True)
            (site.tree / "many" / f"{number}" / "file").write_bytes(b"1")
        ticks = sum(1 for _ in iter(lambda: len(site.tick()), 0))
        assert ticks > 2
        site.verify()
        os.rename(site.tree / "many", site.tree / "less")
        ticks = sum(1 for _ in iter(lambda: len(site.tick()), 0))
        assert ticks > 2
        site.verify()


def test_a_log_that_takes_long_to_replay(tmp_path: Path) -> None:
    """Then a new base is due; the log begins to count anew with it."""
    site = Followed(tmp_path, limits=Limits(records=5), clock=later)
    with closing(site.follower):
        site.checkpoint()
        found = 0
        for number in range(100):
            assert not site.follower.standing.due
            (site.tree / f"{number}").write_bytes(b"1")
            found += len(site.tick())
            if found > 5:
                break
        assert site.follower.standing.due
        site.checkpoint()
        assert not site.follower.standing.due


def test_a_file_that_never_rests(followed: Followed) -> None:
    """It is taken as far as it was read, and again at the next tick."""
    path = followed.tree / "folder" / "b"
    real = reading.read_plain

    def restless(fd: int, size: int) -> bytes:
        data = real(fd, size)
        path.write_bytes(data + b"more")
        return data

    path.write_bytes(b"begin")
    with patch.object(reading, "read_plain", restless):
        assert followed.tick()
    followed.told.automatic = False
    assert followed.tick()
    followed.told.automatic = True
    followed.verify()


def test_lost(followed: Followed) -> None:
    """Nothing is recorded until there is a new base; a gap comes before it."""
    (followed.tree / "folder" / "b").write_bytes(b"lost")
    followed.told.dirty.lose("the queue was full")
    assert followed.tick() == []
    assert not followed.follower.standing.based
    (gap,) = followed.checkpoint()
    assert (gap.operation, gap.value) == (Operation.GAP, Gap.OVERFLOW)
    (followed.tree / "folder" / "b").write_bytes(b"seen")
    followed.tick()
    followed.verify()


def test_more_than_can_wait(followed: Followed) -> None:
    """When a vault is away for long, the names are forgotten, and that is said."""
    with patch.object(follower, "PENDING", 5):
        for number in range(6):
            (followed.tree / f"new{number}").write_bytes(b"new")
        assert not followed.follower.look()
    assert not followed.follower.standing.based
    (gap,) = followed.checkpoint()
    assert gap.value == Gap.OVERFLOW
    followed.verify()


def test_the_component_is_gone(followed: Followed) -> None:
    """That is an error, and no change: when it is back, it goes on."""
    os.rename(followed.tree, followed.tree.with_name("away"))
    followed.told.automatic = False
    followed.told.dirty.entries |= {(b"", b"large"), (b"", b".")}
    with pytest.raises(NotFound):
        followed.tick()
    os.rename(followed.tree.with_name("away"), followed.tree)
    (followed.tree / "large").write_bytes(b"small")
    followed.tick()
    followed.verify()


def test_a_mapped_file(followed: Followed) -> None:
    """Its times are looked at, though nobody tells."""
    followed.told.automatic = False
    followed.mapped.add((b"", b"large"))
    followed.follower._mapped_at = -100.0
    (followed.tree / "large").write_bytes(b"as if through memory")
    assert followed.tick()
    followed.verify()


def test_a_base_that_is_not_kept(followed: Followed) -> None:
    """What a checkpoint needs may be gone when it is not kept: then all is read anew."""
    followed.trusted.clear()
    (gap,) = followed.checkpoint()
    assert (gap.operation, gap.value) == (Operation.GAP, Gap.OTHER)
    assert followed.roots[-1][0] == followed.scan()


def test_records_are_given_until_they_have_landed(followed: Followed) -> None:
    """Also when more happens meanwhile."""
    (followed.tree / "folder" / "b").write_bytes(b"once")
    assert followed.follower.look()
    assert followed.follower.records(followed.sink(), 1, 1)
    (followed.tree / "new").write_bytes(b"new")
    assert count(followed.tick()) == {"CREATE": 1, "TRUNCATE": 1, "WRITE": 1, "TIMES": 1}
    followed.verify()
