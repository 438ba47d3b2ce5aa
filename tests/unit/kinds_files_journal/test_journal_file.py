"""The journal's file: what is read is what was written, up to where it is torn; what is landed goes; a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, strategies as st

from knowngood.core.log import Form, Operation
from knowngood.kinds.files.journal.entries import Draft, Special, draft
from knowngood.kinds.files.journal.reading import JournalBroken, JournalReader, newest_entry
from knowngood.kinds.files.journal.writing import Bounds, JournalWriter, file_numbers

_LARGE = 1 << 30


def _write(number: int, size: int = 100) -> Draft:
    data = bytes([number % 256]) * size
    return draft(Operation.WRITE, number, b"file", offset=number, length=size, form=Form.BYTES, data=data)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Over several files, while it is written; what is landed is removed, file by file."""
    writer = JournalWriter(str(tmp_path), 0, Bounds(file=1000))
    reader = JournalReader(str(tmp_path), 0)
    found = reader.read(_LARGE)
    for number in range(30):
        writer.append([_write(number), draft(Operation.TIMES, number, b"")])
        writer.sync()
        found += reader.read(_LARGE)
    assert [each.operation for each in found] == [Special.BEGINS] + [Operation.WRITE, Operation.TIMES] * 30
    assert [each.data for each in found[1::2]] == [bytes([number]) * 100 for number in range(30)]
    before = len(file_numbers(str(tmp_path)))
    assert reader.discard(reader.next)
    assert len(file_numbers(str(tmp_path))) == 1 < before
    with pytest.raises(JournalBroken):
        JournalReader(str(tmp_path), 0).read(_LARGE)
    writer.close(ends=True)
    assert [each.operation for each in reader.read(_LARGE)] == [Special.ENDS]
    reader.close()


@given(st.integers(0, 2000), st.booleans())
def test_torn_anywhere(at: int, flipped: bool) -> None:
    """Cut or changed anywhere: the entries before that place come, and none after it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        writer = JournalWriter(folder, 0, Bounds())
        writer.append([_write(number) for number in range(12)])
        writer.close(ends=False)
        (file,) = Path(folder).iterdir()
        raw = bytearray(file.read_bytes())
        at = 16 + at % (len(raw) - 16)
        if flipped:
            raw[at] ^= 1
        file.write_bytes(raw if flipped else raw[:at])
        reader = JournalReader(folder, 0)
        found = reader.read(_LARGE)
        reader.close()
        assert [each.data[0] for each in found[1:]] == list(range(max(0, len(found) - 1)))
        assert len(found) < 13
        assert newest_entry(folder) == len(found)


def test_a_full_disk(tmp_path: Path) -> None:
    """Half an entry is taken away again; the journal says that it lost something, and can begin anew."""
    writer = JournalWriter(str(tmp_path), 0, Bounds())
    writer.append([_write(1)])
    writev = os.writev

    def short(fd: int, parts: list[bytes]) -> int:
        writev(fd, [b"".join(parts)[:40]])
        raise OSError(errno.ENOSPC, "full")

    with patch.object(os, "writev", short):
        writer.append([_write(2)])
    assert "full" in writer.lost
    writer.append([_write(3)])
    writer.resume()
    writer.append([_write(4)])
    reader = JournalReader(str(tmp_path), 0)
    operations = [each.operation for each in reader.read(_LARGE)]
    assert [each for each in operations if each != Special.LOST] == [200, 1, 200, 1]
    reader.close()
    writer.close(ends=False)


def test_synced_while_an_entry_is_appended(tmp_path: Path) -> None:
    """Who syncs before an entry is written has not made it durable, and does not say so: the next sync does it."""
    writer = JournalWriter(str(tmp_path), 0, Bounds())
    writev, fdatasync, synced = os.writev, os.fdatasync, list[int]()

    def overtaken(fd: int, parts: list[bytes]) -> int:
        writer.sync()
        return writev(fd, parts)

    def counted(fd: int) -> None:
        synced.append(os.fstat(fd).st_size)
        fdatasync(fd)

    with patch.object(os, "writev", overtaken):
        writer.append([_write(1)])
    with patch.object(os, "fdatasync", counted):
        writer.sync()
    assert synced == [sum(each.stat().st_size for each in tmp_path.iterdir())]
    writer.close(ends=False)


def test_slower_before_the_bound() -> None:
    """Writers are held up more and more, and not at all while little waits."""
    writer = JournalWriter.__new__(JournalWriter)
    writer.lost, writer._bounds, writer._slow = "", Bounds(total=1000), 500.0
    delays = []
    for writer.waiting in (0, 499, 600, 900, 1000):
        delays.append(writer.delay())
    assert delays[:2] == [0, 0]
    assert delays == sorted(delays)
    assert delays[-1] == Bounds().slowest


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    """Nobody pretends: what comes after it is read when that was said."""
    writer = JournalWriter(str(tmp_path), 0, Bounds(file=500))
    for number in range(20):
        writer.append([_write(number)])
    writer.close(ends=False)
    files = sorted(tmp_path.iterdir())
    files[2].unlink()
    reader = JournalReader(str(tmp_path), 0)
    assert len(reader.read(_LARGE)) == int(files[2].name)
    with pytest.raises(JournalBroken):
        reader.read(_LARGE)
    reader.skip()
    assert reader.next == int(files[3].name)
    assert reader.read(_LARGE)[-1].data == bytes([19]) * 100
    reader.close()
