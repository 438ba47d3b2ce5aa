"""Recoveries of many files, in which helper processes write: the same comes back, and no process is left over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from knowngood.core.errors import Damaged, KnowngoodError
from knowngood.core.ids import Name
from knowngood.core.ports import PageSource
from knowngood.kinds.files.recovery import helper_process, helpers, rounds
from knowngood.kinds.files.recovery.shared import MARKER
from knowngood.testing.trees import differences, picture
from knowngood.tree.block import ROW, BlockWriter, Content
from tests.unit.kinds_files_recovery.conftest import Zoo
from tests.unit.kinds_files_recovery.recovering import FILE, FOLDER, OLD, ROOT, age, block, capture, made, text


class Seen:
    """What was written by processes, and which these were."""

    def __init__(self) -> None:
        self.files: set[bytes] = set()
        self.processes: list[subprocess.Popen[bytes]] = []


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Every recovery has its processes, however small it is."""
    monkeypatch.setattr(helpers, "FROM_FILES", 0)
    seen, write, start = Seen(), helpers.Helpers.write, subprocess.Popen

    def watched(self: helpers.Helpers, items: Sequence[helpers.Item], pages: PageSource) -> Any:
        done, left = write(self, items, pages)
        seen.files |= {entry.path for _, entry, _ in done}
        return done, left

    def started(*args: Any, **more: Any) -> subprocess.Popen[bytes]:
        seen.processes.append(start(*args, **more))
        return seen.processes[-1]

    monkeypatch.setattr(helpers.Helpers, "write", watched)
    monkeypatch.setattr(subprocess, "Popen", started)
    return seen


def _many(root: Path, count: int = 700) -> None:
    for number in range(count):
        folder = root / f"{number % 90:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number}").write_bytes(text(number, number * 37 % 9000))
    age(root)


def _all_have_ended(seen: Seen) -> bool:
    return bool(seen.processes) and all(each.returncode is not None for each in seen.processes)


def test_one_of_everything_comes_back(zoo: Zoo, folder: Path, seen: Seen) -> None:
    """What is more than plain is done by the workers, as ever."""
    done = zoo.kept.recover(folder / "place")
    assert differences(zoo.picture, picture(folder / "place")) == []
    assert done.problems == []
    assert {b"empty", b"folder/file", b"folder/below/deep/file"} & seen.files
    assert not {b"small", b"several chunks", b"linked", b"symlink", b"sparse/all hole"} & seen.files
    assert _all_have_ended(seen)


def test_many_files_come_back(tmp_path: Path, seen: Seen) -> None:
    """More than one batch holds, in more folders than one message takes; every file is counted once."""
    _many(tmp_path / "source")
    kept = capture(tmp_path / "source")
    done = kept.recover(tmp_path / "place")
    assert differences(picture(tmp_path / "source"), picture(tmp_path / "place")) == []
    assert len(seen.files) == done.files == 700
    assert done.bytes == done.written_bytes == sum(number * 37 % 9000 for number in range(700))
    assert done.problems == []


@pytest.mark.root
def test_owners_and_modes_whatever_the_umask_is(tmp_path: Path, seen: Seen) -> None:
    """Files of several owners in one folder, and modes that the umask would narrow."""
    source = tmp_path / "source"
    source.mkdir()
    for number, mode in enumerate((0o666, 0o777, 0o600, 0o000, 0o444, 0o640)):
        for owner in (0, 7, 70_000):
            path = source / f"{number}-{owner}"
            path.write_bytes(text(number, 500))
            os.chown(path, owner, owner + 1)
            path.chmod(mode)
    age(source)
    before = os.umask(0o077)
    try:
        capture(source).recover(tmp_path / "place")
    finally:
        os.umask(before)
    assert differences(picture(source), picture(tmp_path / "place")) == []
    assert len(seen.files) == 18


def test_a_small_recovery_starts_no_process(tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes cost more than a few files."""
    monkeypatch.setattr(helpers, "FROM_FILES", 5000)
    _many(tmp_path / "source")
    capture(tmp_path / "source").recover(tmp_path / "place")
    assert not seen.processes
    assert differences(picture(tmp_path / "source"), picture(tmp_path / "place")) == []


@pytest.mark.parametrize("program", ["/bin/false", "/nowhere/python", ""])
def test_where_processes_cannot_run(program: str, tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers then do all of it."""
    _many(tmp_path / "source", 200)
    kept = capture(tmp_path / "source")
    monkeypatch.setattr(sys, "executable", program)
    assert kept.recover(tmp_path / "place").problems == []
    assert differences(picture(tmp_path / "source"), picture(tmp_path / "place")) == []
    assert not seen.files


def test_processes_that_are_killed_in_the_middle(tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows what they have left: the run ends and says so, and the next one finishes it."""
    _many(tmp_path / "source")
    kept = capture(tmp_path / "source")
    send = socket.send_fds

    def killed(*args: Any) -> int:
        for each in seen.processes:
            each.send_signal(signal.SIGSTOP)
        sent = send(*args)
        for each in seen.processes:
            each.send_signal(signal.SIGKILL)
        return sent

    monkeypatch.setattr(socket, "send_fds", killed)
    with pytest.raises(KnowngoodError, match="has been ended") as raised:
        kept.recover(tmp_path / "place")
    assert "again" in raised.value.hint
    assert (tmp_path / "place" / os.fsdecode(MARKER)).exists()
    assert _all_have_ended(seen)
    monkeypatch.setattr(socket, "send_fds", send)
    kept.recover(tmp_path / "place")
    assert differences(picture(tmp_path / "source"), picture(tmp_path / "place")) == []


def test_processes_that_are_killed_between_batches(tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers then do the rest."""
    _many(tmp_path / "source")
    kept = capture(tmp_path / "source")

    def kill(_: Name) -> None:
        for each in seen.processes:
            each.kill()
            each.wait()

    def kill_later(_: Name) -> None:
        if seen.files:
            kept.pages.before_chunk = kill

    monkeypatch.setattr(rounds, "_WORKERS", 1)
    kept.pages.before_chunk = kill_later
    assert kept.recover(tmp_path / "place").problems == []
    assert differences(picture(tmp_path / "source"), picture(tmp_path / "place")) == []
    assert 0 < len(seen.files) < 700


def test_damaged_content_is_told_of(tmp_path: Path, seen: Seen) -> None:
    """By its file; the others come back."""
    _many(tmp_path / "source", 200)
    kept = capture(tmp_path / "source")
    kept.pages.damaged = set(kept.entry("50/file-50").names())
    done = kept.recover(tmp_path / "place")
    assert [problem.path for problem in done.problems] == [b"50/file-50"]
    assert not (tmp_path / "place" / "50" / "file-50").exists()
    assert done.files == len(seen.files) == 199


def test_a_run_that_ends_early_leaves_no_process(tmp_path: Path, seen: Seen) -> None:
    """A tree that contradicts itself."""
    order = block(b"", ROOT, (b"b", FOLDER, b""), (b"a", FILE, b"x"))
    with pytest.raises(Damaged):
        made(order).recover(tmp_path / "place")
    assert _all_have_ended(seen)


def test_what_no_system_call_takes(tmp_path: Path, seen: Seen) -> None:
    """Names that are too long, owners that mean nothing: told of, and the rest is written."""
    writer = BlockWriter(b"", 0)
    writer.add(b".", ROW.pack(FOLDER, os.getuid(), os.getgid(), 0, 0, OLD, OLD, 1), Content.NONE)
    nobody = 0xFFFFFFFF
    for number, (name, owner) in enumerate(((b"fine", os.getuid()), (b"odd", nobody), (b"x" * 300, os.getuid()))):
        row = ROW.pack(FILE, owner, owner if owner == nobody else os.getgid(), 1, 4, OLD, OLD, 10 + number)
        writer.add(name, row, Content.INLINE, inline=b"text")
    done = made(writer.block()).recover(tmp_path / "place")
    assert b"fine" in seen.files
    assert (tmp_path / "place" / "fine").read_bytes() == b"text"
    assert b"x" * 300 in {problem.path for problem in done.problems}


# ------------------------------------------------------------------------------------------------ the process itself


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., bytes]:
    """Writes a batch into `tmp_path`, in this process: (folder, name, size) of each file."""

    def batch(*files: tuple[int, bytes, int], content: bytes = b"0123456789") -> bytes:
        fd = os.open(tmp_path, os.O_RDONLY)
        try:
            owner = os.getuid(), os.getgid()
            message = b"".join(
                helper_process.FILE.pack(number, 0o644, *owner, OLD, size, len(name)) + name
                for number, name, size in files
            )
            return helper_process.write_batch(message, [fd], memoryview(content))
        finally:
            os.close(fd)

    return batch


def test_what_is_there_is_never_touched(tmp_path: Path, write: Callable[..., bytes]) -> None:
    """Not what lies under a name, nor what a link there leads to; the others get their own content."""
    (tmp_path / "there").write_bytes(b"kept")
    (tmp_path / "link").symlink_to("there")
    assert write((0, b"a", 2), (0, b"there", 3), (0, b"link", 1), (0, b"b", 4)) == b"\1\0\0\1"
    assert (tmp_path / "there").read_bytes() == b"kept"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"01"
    assert (tmp_path / "b").read_bytes() == b"6789"


def test_folders_that_did_not_arrive(tmp_path: Path, write: Callable[..., bytes]) -> None:
    """A process may have no descriptors left: its folders are then missing from the end."""
    assert write((0, b"a", 1), (1, b"b", 1), (0, b"c", 1)) == b"\1\0\1"
    assert sorted(os.listdir(tmp_path)) == ["a", "c"]


def test_nothing_is_left_of_what_fails(
    tmp_path: Path, write: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, for instance."""
    real = os.write

    def full(fd: int, data: memoryview) -> int:
        if len(data) <= 2:
            return real(fd, data)
        if len(data) == 4:
            real(fd, data[:1])
        raise OSError(28, "full")

    monkeypatch.setattr(os, "write", full)
    assert write((0, b"a", 2), (0, b"b", 4), (0, b"c", 1)) == b"\1\0\1"
    assert sorted(os.listdir(tmp_path)) == ["a", "c"]
