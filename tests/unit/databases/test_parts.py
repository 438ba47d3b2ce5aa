"""The small parts that kinds of databases share: inboxes, local files, what is remembered, who holds, steps."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest

from knowngood.core.errors import Busy, StoreFailed
from knowngood.core.ids import new_id
from knowngood.core.log import Operation
from knowngood.databases import inbox as module
from knowngood.databases.image import Image
from knowngood.databases.inbox import Inbox
from knowngood.databases.local import LocalFiles
from knowngood.databases.remembered import Holding, Remembered
from knowngood.databases.steps import Begin, Commit, Drop, Resize, Settle, Write, records
from knowngood.testing.memory import MemorySink
from tests.leaks import nothing_left_behind
from tests.servers.waiting import until

__all__ = ["nothing_left_behind"]


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """One that takes ten bytes."""
    monkeypatch.setattr(module, "BYTES", 10)
    with closing(Inbox()) as found:
        yield found


def readable(fd: int) -> bool:
    try:
        return bool(os.eventfd_read(fd))
    except BlockingIOError:
        return False


def test_an_inbox_tells_when_there_is_something(inbox: Inbox) -> None:
    """And no longer when it was taken."""
    assert not readable(inbox.fileno())
    inbox.put(b"ab")
    inbox.put(b"c")
    assert readable(inbox.fileno())
    inbox.put(b"d")
    assert inbox.take(2) == b"ab"
    assert inbox.take() == b"cd"
    assert inbox.take() == b""
    assert not readable(inbox.fileno())


def test_an_inbox_that_is_full_keeps_its_filler_waiting(inbox: Inbox) -> None:
    """Until something is taken; who waits for more than fits in gets it."""
    put: list[int] = []

    def fill() -> None:
        for number in range(10):
            assert inbox.put(b"12345")
            put.append(number)

    thread = threading.Thread(target=fill)
    thread.start()
    until(lambda: len(put) == 2)
    assert inbox.take(5) == b"12345"
    until(lambda: len(put) == 3)
    assert inbox.wait(40, 60)
    assert len(inbox.take(40)) == 40
    thread.join()
    assert inbox.take() == b"12345"


def test_an_inbox_gives_all_before_it_fails(inbox: Inbox) -> None:
    """The failure comes again and again; nobody waits for more."""
    inbox.put(b"last")
    inbox.fail(StoreFailed("away"))
    assert not inbox.wait(100, 60)
    assert inbox.take() == b"last"
    for _ in range(2):
        with pytest.raises(StoreFailed, match="away"):
            inbox.take()
    assert readable(inbox.fileno())


def test_an_inbox_that_is_closed_lets_its_filler_go(inbox: Inbox) -> None:
    """Also one that waits."""
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.extend(inbox.put(b"x" * 10) for _ in range(2)))
    thread.start()
    until(lambda: answers == [True])
    assert not inbox.closes(0)
    inbox.close()
    thread.join()
    assert answers == [True, False]
    assert inbox.closes(0)
    inbox.close()
    inbox.fail(StoreFailed("late"))


def test_local_files(tmp_path: Path) -> None:
    """By their paths in the image, for root only; they outlive who wrote them."""
    path = b"folder/name.\xff"
    with closing(LocalFiles(str(tmp_path / "local"))) as local:
        local.begin(path)
        local.write(path, 5, b"later")
        local.write(path, 0, b"first")
        local.sync(path)
    (file,) = (tmp_path / "local").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    with closing(LocalFiles(str(tmp_path / "local"))) as local:
        assert local.read(path, 3, 100) == b"stlater"
        local.begin(path)
        assert local.read(path, 0, 100) == b""
        local.drop(path)
        local.drop(path)
        with pytest.raises(FileNotFoundError):
            local.read(path, 0, 1)
        local.begin(path)
        local.clear()
    assert list((tmp_path / "local").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x94\x00\xc4\x00\xc4\x00\xc0", b"\x91\x01"])
def test_what_cannot_be_remembered(tmp_path: Path, content: bytes) -> None:
    """Garbage is nothing."""
    assert Remembered(str(tmp_path)).load() is None
    (tmp_path / "image").write_bytes(content)
    assert Remembered(str(tmp_path)).load() is None


def test_what_is_remembered(tmp_path: Path) -> None:
    """It is replaced as a whole, and forgotten."""
    with closing(LocalFiles(str(tmp_path / "local"))) as local:
        image = Image(local, (1, 2), lambda: 3)
        image.add(MemorySink(), b"a/b", BytesIO(b"data").read, 3)
        image.root(MemorySink())
        image.landed()
        remembered, checkpoint = Remembered(str(tmp_path)), new_id()
        remembered.save(checkpoint, b"here", image.state())
        known = remembered.load()
        assert known
        assert (known.checkpoint, known.position, known.image) == (checkpoint, b"here", image.state())
        assert (tmp_path / "image").stat().st_mode & 0o777 == 0o600
        remembered.forget()
        remembered.forget()
        assert remembered.load() is None


def test_one_holds_a_state_folder(tmp_path: Path) -> None:
    """Until it is closed."""
    with closing(Holding(str(tmp_path / "state"))):
        with pytest.raises(Busy, match="followed"):
            Holding(str(tmp_path / "state"))
    Holding(str(tmp_path / "state")).close()


def test_records_of_steps() -> None:
    """Numbered without a hole; what is committed later is later; what is large is cut."""
    large = bytes((1 << 20) + 1)
    steps = [Begin(b"a/b", 7), Write(b"a/b", 3, large), Commit(), Settle(b"a/b"), Resize(b"c", 9), Commit(), Drop(b"c")]
    made = records(steps, (1, 2), 40, 1000)
    assert [each.sequence for each in made] == [40, 41, 42, 43, 44, 45]
    assert [each.time_ns for each in made] == [1000] * 4 + [1001, 1002]
    kinds = [
        Operation.CREATE,
        Operation.TRUNCATE,
        Operation.WRITE,
        Operation.WRITE,
        Operation.TRUNCATE,
        Operation.UNLINK,
    ]
    assert [each.operation for each in made] == kinds
    assert {each.path for each in made} == {b"a\0b", b"c"}
    assert [(each.offset, each.length) for each in made[2:4]] == [(3, 1 << 20), (3 + (1 << 20), 1)]
