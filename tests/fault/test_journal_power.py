"""Power is cut while a journal is written: of what was not synced, any part may be missing. What was synced is read."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest

from knowngood.core.log import Form, Operation
from knowngood.kinds.files.journal.entries import Draft, Entry, draft
from knowngood.kinds.files.journal.reading import JournalBroken, JournalReader, newest_entry
from knowngood.kinds.files.journal.writing import Bounds, JournalWriter

_SECTOR = 512
_LARGE = 1 << 30


@dataclass
class _Disk:
    """What a kernel was asked to do in one folder, in order: what it holds after a power cut follows from that."""

    events: list[tuple[str, str, int, bytes]] = field(default_factory=list[tuple[str, str, int, bytes]])
    promised: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # events, entries that are durable

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what is written and synced meanwhile."""
        writev, write, fsync = os.writev, os.write, os.fsync

        def note(fd: int, data: bytes) -> None:
            size = os.fstat(fd).st_size
            self.events.append(("write", os.readlink(f"/proc/self/fd/{fd}"), size - len(data), data))

        def writing(fd: int, parts: list[bytes]) -> int:
            count = writev(fd, parts)
            note(fd, b"".join(parts)[:count])
            return count

        def written(fd: int, data: bytes) -> int:
            count = write(fd, data)
            note(fd, bytes(data)[:count])
            return count

        def synced(fd: int) -> None:
            fsync(fd)
            self.events.append(("sync", os.readlink(f"/proc/self/fd/{fd}"), 0, b""))

        with patch.object(os, "writev", writing), patch.object(os, "write", written):
            with patch.object(os, "fsync", synced), patch.object(os, "fdatasync", synced):
                yield

    def cut(self, at: int, folder: str, into: Path, some: random.Random) -> None:
        """What is there when power was cut before an event."""
        events = self.events[:at]
        last = {path: number for number, (what, path, *_) in enumerate(events) if what == "sync"}
        files: dict[str, bytearray] = {}
        for number, (what, path, offset, data) in enumerate(events):
            if what != "write":
                continue
            if path not in files and number > last.get(folder, -1) and some.random() < 0.3:
                continue  # its name was not durable: this write, and maybe the file, is gone
            content = files.setdefault(path, bytearray())
            durable = number <= last.get(path, -1)
            if not durable and some.random() < 0.2:
                continue  # not even the length
            content.extend(bytes(max(0, offset + len(data) - len(content))))
            for begin in range(0, len(data), _SECTOR):
                if durable or some.random() < 0.7:
                    content[offset + begin : offset + begin + _SECTOR] = data[begin : begin + _SECTOR]
        for path, content in files.items():
            (into / Path(path).name).write_bytes(content)


def _entry(number: int, some: random.Random) -> Draft:
    data = some.randbytes(some.choice((0, 10, 700, 5000)))
    form = Form.BYTES if data else Form.NONE
    return draft(Operation.WRITE, number, b"file%d" % number, length=len(data), form=form, data=data)


def _read(folder: Path) -> list[Entry]:
    reader = JournalReader(str(folder), 0)
    found: list[Entry] = []
    try:
        while more := reader.read(_LARGE):
            found += more
    except JournalBroken:
        pass  # it says so: nothing after it is taken for what follows
    finally:
        reader.close()
    return found


@pytest.mark.parametrize("seed", range(6))
def test_power_is_cut(seed: int, tmp_path: Path) -> None:
    """Anywhere: all that `sync` had returned for is there, and what is read is what was written."""
    some, disk = random.Random(seed), _Disk()
    with disk.watching():
        writer = JournalWriter(str(tmp_path), 0, Bounds(file=8000))
        for number in range(60):
            writer.append([_entry(number, some) for _ in range(some.choice((1, 1, 3)))])
            if some.random() < 0.3:
                writer.sync()
                disk.promised.append((len(disk.events), writer.next))
        writer.close(ends=False)
    truth = _read(tmp_path)
    assert len(truth) == writer.next
    for _ in range(40):
        at = some.randrange(len(disk.events) + 1)
        durable = max((entries for events, entries in disk.promised if events <= at), default=0)
        with tempfile.TemporaryDirectory(dir=tmp_path) as left:
            disk.cut(at, str(tmp_path), Path(left), some)
            found = _read(Path(left))
            assert len(found) >= durable
            assert found == truth[: len(found)]
            _goes_on(Path(left), found)


def _goes_on(folder: Path, found: list[Entry]) -> None:
    """Who journals next begins after all that may have been read, and says that something may be missing."""
    try:
        number = newest_entry(str(folder))
    except JournalBroken:
        return
    assert number >= len(found)
    writer = JournalWriter(str(folder), number, Bounds())
    writer.close(ends=False)
    reader = JournalReader(str(folder), number)
    assert [each.operation for each in reader.read(_LARGE)] == [200]
    reader.close()
