"""A real folder is captured, then changed: from the records of that, recovery brings back what it became."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from hypothesis import given, strategies as st

from knowngood.core.ids import Name
from knowngood.core.log import Form, LogRecord, Operation
from knowngood.core.ports import RecoveryRequest
from knowngood.core.progress import Progress
from knowngood.kinds.files.capture.entries import row_of
from knowngood.kinds.files.recovery.recover import materialize, plan_recovery
from knowngood.testing.memory import MemoryScratch
from knowngood.testing.trees import Picture, differences, picture
from knowngood.tree.replay import Replay
from tests.property.test_files_capture import MEMORY
from tests.unit.kinds_files_recovery.recovering import capture, text
from tests.unit.tree.replaying import delta, expand

KINDS = ["write", "write", "write", "truncate", "create", "folder", "symlink", "link", "unlink", "rename", "rename"]
KINDS += ["mode", "times", "pipe"]
NAMES = ["a", "b", "c\n", "\udcff"]
SIZES = [0, 1, 100, 129, 4096, 5000, 70_000, 300_000]
steps = st.lists(st.tuples(st.sampled_from(KINDS), *[st.integers(0, 1000)] * 4), max_size=40)


class Journal:
    """Changes a real folder, and says what it did."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._numbers = count()

    def every(self) -> list[Path]:
        return sorted(self.top.rglob("*"))

    def _record(self, operation: Operation, path: Path, at: Path | None = None, **rest) -> LogRecord:
        """`at` is where to look for the row, when that is another place."""
        row = b""
        if os.path.lexists(at or path):
            row = row_of(os.lstat(at or path))
        number = next(self._numbers)
        head = {"sequence": number, "time_ns": number, "operation": operation, "path": self._key(path), "row": row}
        return LogRecord(**head, **rest)

    def _key(self, path: Path) -> bytes:
        return os.fsencode(path.relative_to(self.top)).replace(b"/", b"\0") if path != self.top else b""

    def _above(self, *paths: Path) -> Iterator[LogRecord]:
        """The directories have new times."""
        for folder in {path.parent for path in paths}:
            if folder.is_dir() and not folder.is_symlink():
                yield self._record(Operation.TIMES, folder)

    def do(self, kind: str, a: int, b: int, c: int, d: int) -> Iterator[LogRecord]:
        """Do one change, if it can be done: the numbers choose where and what."""
        every = self.every()
        files = [path for path in every if path.is_file() and not path.is_symlink()]
        folders = [self.top, *(path for path in every if path.is_dir() and not path.is_symlink())]
        fresh = folders[b % len(folders)] / NAMES[c % len(NAMES)]
        if kind in ("create", "folder", "symlink", "pipe"):
            yield from () if os.path.lexists(fresh) else self._create(kind, fresh, d)
            return
        match kind:
            case "write" if files:
                yield self._write(files[a % len(files)], SIZES[b % len(SIZES)] + d, SIZES[c % len(SIZES)], a + d)
            case "truncate" if files:
                path, length = files[a % len(files)], SIZES[b % len(SIZES)] + d
                os.truncate(path, length)
                yield self._record(Operation.TRUNCATE, path, length=length)
            case "link" if files and not os.path.lexists(fresh):
                other = files[a % len(files)]
                os.link(other, fresh)
                yield self._record(Operation.LINK, fresh, second=self._key(other))
                yield from self._above(fresh)
            case "unlink" if every:
                path = every[a % len(every)]
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    path.unlink()
                elif not os.listdir(path):
                    path.rmdir()
                else:
                    return
                yield self._record(Operation.UNLINK, path)
                yield from self._above(path)
            case "rename" if every:
                path = every[a % len(every)]
                try:
                    os.rename(path, fresh)
                except OSError:
                    return
                yield self._record(Operation.RENAME, path, fresh, second=self._key(fresh))
                yield from self._above(path, fresh)
            case "mode" if every and not every[a % len(every)].is_symlink():
                every[a % len(every)].chmod(0o700 | b)
                yield self._record(Operation.MODE, every[a % len(every)])
            case "times" if every:
                os.utime(every[a % len(every)], ns=(b, c * d), follow_symlinks=False)
                yield self._record(Operation.TIMES, every[a % len(every)])

    def _create(self, kind: str, fresh: Path, number: int) -> Iterator[LogRecord]:
        rest: dict[str, Any] = {}
        match kind:
            case "create":
                data = text(number, SIZES[number % 4])
                fresh.write_bytes(data)
                rest = {"form": Form.BYTES, "data": data, "length": len(data)} if data else {}
            case "folder":
                fresh.mkdir()
            case "symlink":
                os.symlink(b"to/%d" % number, fresh)
                rest = {"form": Form.BYTES, "data": os.readlink(os.fsencode(fresh))}
            case "pipe":
                os.mkfifo(fresh)
        yield self._record(Operation.CREATE, fresh, **rest)
        yield from self._above(fresh)

    def _write(self, path: Path, offset: int, length: int, seed: int) -> LogRecord:
        data = Random(seed).randbytes(length)
        with path.open("r+b") as file:
            file.seek(offset)
            before = file.read(length).ljust(length, b"\0")
            file.seek(offset)
            file.write(data)
        form = (Form.BYTES, Form.DELTA)[seed % 2]
        body = data if form == Form.BYTES else delta(before, data)
        return self._record(Operation.WRITE, path, offset=offset, length=length, form=form, data=body)


def prepare(top: Path) -> None:
    top.mkdir()
    (top / "a").write_bytes(text(1, 600_000))
    (top / "b").mkdir()
    (top / "b" / "a").write_bytes(text(2, 3000))
    (top / "b" / "b").mkdir()
    (top / "b" / "b" / "a").write_bytes(b"inline")
    os.link(top / "a", top / "b" / "b" / "linked")
    with (top / "b" / "sparse").open("wb") as file:
        file.truncate(2_000_000)
        file.seek(400_000)
        file.write(text(3, 50_000))


def blind(folder: Path) -> Picture:
    """A picture in which files have all their bytes instead of their holes."""
    found = picture(folder)
    for path, each in found.items():
        if each.kind == "file":
            content = blake2b((folder / os.fsdecode(path)).read_bytes()).hexdigest()
            found[path] = replace(each, content=content, data=())
    return found


def compare(live: Path, recovered: Path) -> None:
    """All is the same, but that a hole may be larger: what was cut off leaves its block behind."""
    assert differences(blind(live), blind(recovered)) == []
    there = picture(live)
    for path, each in picture(recovered).items():
        parts = there[path].data or ((0, each.size),)
        if each.size > 4096:  # a capture does not ask for the holes of one block
            assert all(any(low <= start and end <= high for low, high in parts) for start, end in each.data if end)


@given(steps)
def test_what_was_replayed_is_recovered(several: list[tuple]) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as base:
        top, target = Path(base) / "top", Path(base) / "target"
        prepare(top)
        kept = capture(top)
        replay = Replay(Name(kept.checkpoint.root), kept.pages, MemoryScratch(), expand, 0)
        journal = Journal(top)
        for each in several:
            replay.run(journal.do(*each))
        root, pages = replay.state()
        checkpoint = msgspec.structs.replace(kept.checkpoint, root=root)
        plan = plan_recovery(RecoveryRequest(checkpoint, str(target)), pages, Progress())
        done = materialize(plan, pages, Progress())
        assert done.problems == []
        compare(top, target)
