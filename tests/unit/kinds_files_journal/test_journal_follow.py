"""Every write becomes a record: what the log replays to is what is there."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from knowngood.core.errors import Busy, Unsupported
from knowngood.core.instants import now_ns
from knowngood.core.log import Operation
from knowngood.core.model import ComponentSpec
from knowngood.kinds.files import FilesKind
from knowngood.kinds.files.journal.line import ServerGone
from knowngood.testing.memory import MemoryPages
from tests.mounted import needs_fuse, until
from tests.unit.kinds_files.capturing import noise
from tests.unit.kinds_files_journal.journalling import Journalled

pytestmark = [pytest.mark.root, needs_fuse]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Journalled]:
    """A folder that is journalled."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "old").write_bytes(b"old content")
    made = Journalled(tmp_path)
    yield made
    made.end()


def test_every_write_is_a_record(site: Journalled) -> None:
    """Three writes within one tick are three records, and each can be recovered."""
    site.settle()
    file = site.tree / "file"
    for data in (b"one", b"two", b"three"):
        file.write_bytes(data)
    records = site.tick()
    states = [site.at(sequence=each.sequence + 1).get(b"file") for each in records]
    contents = [state[-1] for state in states if state]
    assert list(dict.fromkeys(contents)) == [b"", b"one", b"two", b"three"]
    site.verify()
    assert os.path.ismount(site.tree)
    assert os.getpriority(os.PRIO_PROCESS, site.server()) == -20  # whoever writes waits for it


def test_a_server_that_died(site: Journalled) -> None:
    """What was journalled is in the log; what happened then is a gap, and is found; then it goes on."""
    site.settle()
    (site.tree / "before").write_bytes(b"before")
    site.kill()
    with pytest.raises(OSError, match="not connected"):
        os.listdir(site.tree)
    assert site.tick()
    assert site.at()[b"before"][-1] == b"before"
    assert not site.follower.standing.based
    records = site.checkpoint()
    assert [each.operation for each in records] == [Operation.GAP]
    site.settle()
    (site.tree / "after").write_bytes(b"after")
    site.tick()
    site.verify()


def test_written_underneath_meanwhile(site: Journalled) -> None:
    """Nobody pretends to know what was written while nothing was mounted."""
    site.settle()
    site.end()
    (site.tree / "underneath").write_bytes(b"unseen")
    site.follower = site.follow()
    assert not site.tick()
    assert Operation.GAP in [each.operation for each in site.checkpoint()]
    site.settle()
    site.verify()
    assert site.at()[b"underneath"][-1] == b"unseen"


def test_a_keeper_that_died(site: Journalled) -> None:
    """The server goes on, and the next keeper from where the log ends: without a gap."""
    site.settle()
    (site.tree / "one").write_bytes(b"1")
    site.tick()
    (site.tree / "two").write_bytes(b"2")
    site.dies()
    (site.tree / "three").write_bytes(b"3")
    (site.tree / "one").rename(site.tree / "four")
    site.follower = site.follow()
    records = site.tick()
    assert Operation.GAP not in [each.operation for each in records]
    assert site.follower.standing.level == "journal"
    site.verify()
    (site.tree / "two").unlink()
    site.checkpoint()
    assert site.captured.capture == "journal"
    site.verify(0)


@pytest.mark.parametrize("landed", [True, False])
def test_a_keeper_that_died_while_it_committed(site: Journalled, landed: bool) -> None:
    """The end of the log says whether its records came there: none is missing, none comes twice."""
    site.settle()
    (site.tree / "one").write_bytes(b"1")
    site.follower.look()
    records = site.follower.records(site.sink(), len(site.log), now_ns())
    if landed:
        site.log += records
    site.dies()
    (site.tree / "one").write_bytes(b"again")
    site.follower = site.follow()
    site.tick()
    assert site.follower.standing.level == "journal"
    site.verify()


def test_in_use_at_the_end(site: Journalled) -> None:
    """It stays mounted for those who use it, and what they do is not lost: who follows next takes over."""
    site.settle()
    with (site.tree / "open").open("wb", buffering=0) as file:
        file.write(b"one")
        site.follower.close()
        file.write(b"two")
        site.follower = site.follow()
        site.tick()
        assert site.follower.standing.level == "journal"
        site.verify()
        assert site.at()[b"open"][-1] == b"onetwo"


def test_unmounted_under_those_who_use_it(site: Journalled) -> None:
    """What they write is journalled, what others write is not: that is said, and nobody takes over from it."""
    site.settle()
    with (site.tree / "open").open("wb", buffering=0) as file:
        subprocess.run(["umount", "-l", site.tree], check=True)
        file.write(b"through the mount that was")
        site.tick()
        assert "unmounted" in site.follower.standing.reason
        assert site.at()[b"open"][-1] == b"through the mount that was"
        site.follower.close()
        with pytest.raises(Busy, match="was unmounted"):
            site.follow()
    until(lambda: not _answers(site))
    site.follower = site.follow()
    site.checkpoint()
    site.verify()


def _answers(site: Journalled) -> bool:
    try:
        return bool(site.server())
    except ServerGone:
        return False


def test_stored_through_memory(site: Journalled) -> None:
    """What was stored through a shared mapping comes when it is synced."""
    site.settle()
    with (site.tree / "mapped").open("w+b") as file:
        file.truncate(8192)
        with mmap.mmap(file.fileno(), 8192) as memory:
            memory[5000:5005] = b"hello"
            memory.flush()
            site.tick()
            content = site.at()[b"mapped"][-1]
            assert isinstance(content, bytes)
            assert content[5000:5005] == b"hello"


def test_what_is_left_out(tmp_path: Path) -> None:
    """Nothing of it comes into the log; what comes from there does, as it is then."""
    site = Journalled(tmp_path, exclude=("*.tmp", "cache/"))
    try:
        site.settle()
        (site.tree / "cache").mkdir()
        (site.tree / "cache" / "a").write_bytes(b"left out")
        (site.tree / "b.tmp").write_bytes(b"left out for now")
        assert {each.operation for each in site.tick()} == {Operation.TIMES}
        (site.tree / "b.tmp").rename(site.tree / "b")
        (site.tree / "cache" / "a").unlink()
        (site.tree / "cache").rmdir()
        (site.tree / "b").write_bytes(b"more")
        site.tick()
        site.tick()
        assert site.follower.standing.level == "journal"
        site.verify()
    finally:
        site.end()


def test_too_much_waits(tmp_path: Path) -> None:
    """Writers are slowed down, and never stopped: at the bound the journal gives up, says so, and begins again."""
    site = Journalled(tmp_path)
    try:
        site.settle()
        site.bound(3 << 20)
        for number in range(8):
            (site.tree / str(number)).write_bytes(bytes(1 << 20))
        site.tick()
        site.tick()
        assert "too much" in site.follower.standing.reason
        assert not site.follower.standing.based
        site.settle()
        (site.tree / "after").write_bytes(b"after")
        site.tick()
        site.verify()
    finally:
        site.end()


def test_a_large_file_is_read_where_it_was_written_to(site: Journalled) -> None:
    """A checkpoint after a few writes into a large file reads a few chunks of it."""
    large = site.tree / "large"
    large.write_bytes(noise(24 << 20, 1))
    site.settle()
    with large.open("r+b", buffering=0) as file:
        for round_number in range(3):
            for at in (5 << 20, 17 << 20):
                file.seek(at + round_number * 100)
                file.write(b"changed")
            site.checkpoint()
            assert site.captured.capture == "journal"
            assert site.states(site.roots[-1][0], MemoryPages(site.vault)) == site.there()
    assert site.captured.totals.read_bytes < 12 << 20
    os.truncate(large, 9 << 20)
    with large.open("ab") as file:
        file.write(noise(3 << 20, 2))
    site.checkpoint()
    assert site.states(site.roots[-1][0], MemoryPages(site.vault)) == site.there()
    site.verify(0)


def test_who_writes_past_it(tmp_path: Path) -> None:
    """A program that had a file open before is not seen: that is said, until it ends."""
    (tmp_path / "tree").mkdir()
    code = "import sys; file = open(sys.argv[1], 'w'); print('open', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, str(tmp_path / "tree" / "file")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        assert program.stdout.readline() == "open\n"
        site = Journalled(tmp_path)
        try:
            site.settle()
            assert "1 programs had open before" in site.follower.standing.reason
            program.communicate("")
            site.checkpoint()
            assert "had open" not in site.follower.standing.reason
        finally:
            site.end()


def test_no_journal_any_more(site: Journalled) -> None:
    """A component that is to be watched instead is unmounted; as long as somebody uses the mount, that waits."""
    site.settle()
    with (site.tree / "old").open("rb"):
        site.follower.close()
        component = replace(site.component, capture="watch")
        with pytest.raises(Busy):
            site.kind.follow(component, str(site.base / "state"))
    site.kind.follow(component, str(site.base / "state")).close()
    assert not os.path.ismount(site.tree)
    site.follower = site.follow()


def test_the_home_must_lie_elsewhere(tmp_path: Path) -> None:
    """Its own journal would be journalled."""
    component = ComponentSpec(name="c", kind="files", path=str(tmp_path), capture="journal")
    with pytest.raises(Unsupported, match="holds the home itself"):
        FilesKind().follow(component, str(tmp_path / "state"))
    component = replace(component, path=str(tmp_path / "file"))
    (tmp_path / "file").touch()
    (tmp_path / "state").mkdir()
    with pytest.raises(Unsupported, match="only folders"):
        FilesKind().follow(component, str(tmp_path / "state"))
